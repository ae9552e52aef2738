"""Street addresses are found whole, in the order of their country, and prose is left alone."""

from __future__ import annotations

import pytest

from airflow_approvals.detection.addresses import address_spans
from tests.detection.costs import grows_no_faster_than_the_text
from tests.detection.engines import masking_engine

ADDRESSES = [
    "742 Evergreen Terrace, Springfield, IL 62704",
    "123 N. Main St Apt 4B, New York, NY 10001-1234",
    "1600 Pennsylvania Avenue NW, Washington, DC 20500",
    "350 5th Ave #21",
    "9 Elm Ct., Apt. 5",
    "221B Baker Street",
    "PO Box 1234, Anchorage, AK 99501",
    "P.O. Box 77",
    "Salt Lake City, UT 84101",
    "12 rue de la Paix, 75002 Paris",
    "12 bis, avenue Foch",
    "4 place de l'Hôtel de Ville",
    "Musterstraße 12, 10115 Berlin",
    "Lange Str. 7",
    "Berliner Allee 5a",
    "Hoofdstraat 12, 1011 AB Amsterdam",
    "Calle Mayor 12, 28013 Madrid",
    "Via Giuseppe Verdi, 8",
    "Rua Augusta, 100",
]
NONE = [
    "took 12 ms on St 4",
    "a 2 Way sync of 3 Drive letters",
    "HTTP/1.1 200 OK",
    "Unterwegs 12 Leute",
    "2024-05-01T10:00:00Z INFO 3 Drives found",
    "the 12 avenues of growth",
    "version 1.2.3 Road map",
    "see MA 0213",
]


def longest(text: str) -> str:
    return max((text[start:end] for start, end in address_spans(text)), key=len, default="")


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_found_from_its_number_to_its_postcode(address: str) -> None:
    for text in (address, f"Ship it to {address} today", f'{{"to": "{address}"}}', f"\U0001f4e6 {address}."):
        assert longest(text) in (address, f"{address}.")


@pytest.mark.parametrize("text", NONE)
def test_numbers_and_words_that_are_no_address_are_left_alone(text: str) -> None:
    assert longest(text) == ""


@pytest.mark.parametrize("unit", ["Aa ", "1 Aa ", "12 rue A ", "Aa, NY ", "PO Box 1 ", "Via A ", "Aastraat "])
def test_cost_grows_with_length_and_not_faster(unit: str) -> None:
    assert grows_no_faster_than_the_text(address_spans, unit)


def test_the_engine_finds_what_a_language_model_leaves_standing() -> None:
    text = "Please ship to 742 Evergreen Terrace, Springfield, IL 62704 on Monday."
    (findings,) = masking_engine().analyze([text])
    covered = {i for f in findings if f.entity_type == "LOCATION" for i in range(f.start, f.end)}
    start = text.index("742")
    assert set(range(start, text.index(" on Monday"))) <= covered
