"""A title, a greeting or an introduction gives a name away, wherever the name is from."""

from __future__ import annotations

import pytest

from airflow_approvals.detection.titled_names import titled_name_spans
from tests.detection.costs import grows_no_faster_than_the_text
from tests.detection.engines import masking_engine

NAMED = [
    ("Frau Wójcik rief an", "Wójcik"),
    ("spoke to Mr Nguyễn Văn An today", "Nguyễn Văn An"),
    ("My name is Siobhán Ní Dhomhnaill and", "Siobhán Ní Dhomhnaill"),
    ("Dear Oluwaseun,", "Oluwaseun"),
    ("Dr. van der Berg said", "van der Berg"),
    ("signed by Jean-Luc Picard on Monday", "Jean-Luc Picard"),
    ("M. Dupont est parti", "Dupont"),
    ("Kind regards,\nZoë Ångström\nSales", "Zoë Ångström"),
    ("attn: Ms. Aylin Şahin", "Aylin Şahin"),
    ("Prof. Dr. Müller-Lüdenscheidt", "Müller-Lüdenscheidt"),
    ("me llamo José de la Cruz y vivo", "José de la Cruz"),
    ("Ich heiße Jürgen Groß.", "Jürgen Groß"),
]
UNNAMED = [
    "Hi team, all is well",
    "Hello World!",
    "Dear Customer, we have moved",
    "Dear Sir or Madam",
    "the M Series and the DR site",
    "Fr 12 Mai",
    "Miss the train",
    "hi there, general",
    "Don Valley",
]


def names(text: str) -> list[str]:
    return [text[start:end] for start, end in titled_name_spans(text)]


@pytest.mark.parametrize(("text", "name"), NAMED)
def test_a_name_is_found_whole(text: str, name: str) -> None:
    for surrounded in (text, f"\U0001f600\u0301 {text}"):
        assert set(names(surrounded)) == {name}


@pytest.mark.parametrize("text", UNNAMED)
def test_words_that_name_nobody_are_left_alone(text: str) -> None:
    assert names(text) == []


@pytest.mark.parametrize("unit", ["Mr ", "Mr Aa ", "Dear Aa ", "my name is ", "Dr van ", "Mr de de de "])
def test_cost_grows_with_length_and_not_faster(unit: str) -> None:
    assert grows_no_faster_than_the_text(titled_name_spans, unit)


def test_the_engine_finds_a_name_that_a_language_model_misses() -> None:
    text = "We met Frau Wójcik and Mr Nguyễn Văn An in the lobby."
    (findings,) = masking_engine().analyze([text])
    covered = {i for f in findings if f.entity_type == "PERSON" for i in range(f.start, f.end)}
    for name in ("Wójcik", "Nguyễn Văn An"):
        start = text.index(name)
        assert set(range(start, start + len(name))) <= covered
