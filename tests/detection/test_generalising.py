"""A value becomes coarser, and what is not understood is replaced."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from presidio_analyzer import RecognizerResult

from airflow_approvals.detection.generalising import SPARSE_ZIP_AREAS, generalised
from airflow_approvals.detection.masking import mask_text
from airflow_approvals.detection.profiles import Profile, Transformation, Treatment, load_profile
from tests.detection.engines import masking_engine

DATES = [
    ("1987-04-12", "1987-04"),
    ("1987/04/12", "1987-04"),
    ("19870412", "1987-04"),
    ("2023-05-06T12:34:56.789Z", "2023-05"),
    ("2023-05-06 12:34:56+02:00", "2023-05"),
    ("12 April 1987", "1987-04"),
    ("April 12th, 1987", "1987-04"),
    ("Sept. 3, 2021", "2021-09"),
    ("May 1987", "1987-05"),
    ("12.04.1987", "1987-04"),
    ("04/25/1987", "1987-04"),
    ("25/04/1987", "1987-04"),
    ("2024-05", "2024-05"),
    ("1999", "1999"),
]
OTHER = [
    ("IP_ADDRESS", "203.0.113.77", "203.0.113.0/24"),
    ("IP_ADDRESS", "2001:db8:1234:5678::1", "2001:db8:1234::/48"),
    ("LOCATION", "62704", "627"),
    ("LOCATION", "62704-1234", "627"),
    ("LOCATION", "03601", "000"),
    ("LOCATION", "nw1 6xe", "NW"),
]
NOT_UNDERSTOOD = [
    ("DATE_TIME", "last Monday"),
    ("DATE_TIME", "1987-04-12 and 1988"),
    ("DATE_TIME", "99/99/1987"),
    ("DATE_TIME", "87-04-12"),
    ("IP_ADDRESS", "203.0.113.777"),
    ("IP_ADDRESS", "203.0.113.77:8080"),
    ("LOCATION", "Springfield"),
    ("PERSON", "Ada Lovelace"),
    ("US_SSN", "078-05-1120"),
]


def masked(text: str, kind: str, **treatment: object) -> str:
    made = Treatment(**{"transformation": Transformation.GENERALISE, "threshold": 0.0, **treatment})
    profile = Profile("coarse", 0.0, entities={kind: made})
    return mask_text(text, [RecognizerResult(kind, 0, len(text), 1.0)], profile).text


@pytest.mark.parametrize(("date", "month"), DATES)
def test_a_date_becomes_its_month_or_its_year(date: str, month: str) -> None:
    assert masked(date, "DATE_TIME") == month
    assert masked(date, "DATE_OF_BIRTH", to="year") == month[:4]


def test_a_date_that_does_not_say_which_figure_is_the_month_becomes_its_year() -> None:
    assert masked("04/05/1987", "DATE_TIME") == "1987"


@pytest.mark.parametrize(("kind", "value", "coarser"), OTHER)
def test_addresses_and_postcodes_become_areas(kind: str, value: str, coarser: str) -> None:
    assert masked(value, kind) == coarser


@pytest.mark.parametrize(("kind", "value"), NOT_UNDERSTOOD)
def test_what_is_not_understood_is_replaced(kind: str, value: str) -> None:
    assert masked(value, kind) == f"<{kind}>"


def test_there_are_the_seventeen_sparse_areas_of_the_guidance() -> None:
    assert len(SPARSE_ZIP_AREAS) == 17


@given(st.text(max_size=40), st.sampled_from(["DATE_TIME", "IP_ADDRESS", "LOCATION"]))
def test_what_is_coarser_is_coarse_for_good(value: str, kind: str) -> None:
    coarser = generalised(value, kind, "year")
    assert coarser is None or len(coarser) <= 4 or "/" in coarser


@pytest.mark.parametrize("value", ["AKIA" + "2" * 16, "hunter2"])
def test_a_secret_is_never_made_coarser(value: str) -> None:
    assert masked(value, "API_KEY") == "<API_KEY>"


def test_the_last_four_digits_of_a_card_stay_and_no_more() -> None:
    card = "4111 1111 1111 1111"
    shown = masked(card, "CREDIT_CARD", transformation=Transformation.MASK, show_last=4)
    assert shown == "**** **** **** 1111"
    short = masked("4111", "CREDIT_CARD", transformation=Transformation.MASK, show_last=4)
    assert short == "****", "what is shown must be a small part of the whole"


@pytest.mark.parametrize(
    ("profile", "text", "expected"),
    [
        ("pci", "paid with 4111 1111 1111 1111", "paid with **** **** **** 1111"),
        ("hipaa-safe-harbor", "admitted 2023-05-06", "admitted 2023"),
        ("gdpr", "seen 2023-05-06 from 203.0.113.77", "seen 2023-05 from 203.0.113.0/24"),
    ],
)
def test_a_shipped_profile_does_what_it_says(profile: str, text: str, expected: str) -> None:
    (findings,) = masking_engine(profile).analyze([text])
    assert mask_text(text, findings, load_profile(profile)).text == expected
