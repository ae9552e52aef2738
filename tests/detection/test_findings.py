"""What cannot be what it was taken for is no finding."""

from __future__ import annotations

import pytest

from airflow_approvals.detection.findings import plausible
from tests.detection.engines import classification_engine

UUID = "3f2b1c4d-1111-4222-8333-444455556666"


def kinds(text: str) -> set[str]:
    (findings,) = classification_engine().analyze([text])
    return {finding.entity_type for finding in plausible(findings, text)}


def test_an_ip_address_is_no_phone_number() -> None:
    assert "PHONE_NUMBER" not in kinds("192.168.10.24 - - connected to 10.20.30.40 port 443")
    assert "PHONE_NUMBER" in kinds("192.168.10.24 called (212) 555-0187")


def test_the_end_of_a_uuid_is_no_national_number() -> None:
    assert kinds(f"run {UUID} ended") == {"UUID"}


def test_a_secret_that_looks_like_a_uuid_is_a_secret() -> None:
    assert "API_KEY" in kinds(f"api_key={UUID}")


@pytest.mark.parametrize(
    "text", ["order 901820 left", "order id 2024991500017 shipped", "paid by 22210 00000 00"]
)
def test_a_row_of_figures_is_no_date(text: str) -> None:
    assert "DATE_TIME" not in kinds(text)


@pytest.mark.parametrize(
    "text",
    [
        "born on 1987-04-12 there",
        "due 04/05/2026 please",
        "at 12:30 today",
        "since 1999",
        "run on 20240315",
        "last Monday",
        "2023-05-06T12:34:56Z GET",
    ],
)
def test_a_date_stays_one(text: str) -> None:
    assert "DATE_TIME" in kinds(text)
