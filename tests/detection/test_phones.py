"""One search for all regions finds what Presidio's eight find, and explains it alike."""

from __future__ import annotations

import random
from typing import Any

import pytest
from presidio_analyzer.predefined_recognizers import PhoneRecognizer

from airflow_approvals.detection.phones import SharedPhoneRecognizer

WORDS = [
    "call",
    "id",
    "é",
    "of",
    "Ω",
    "(",
    "ref#",
    "abc",
    "€",
    ";",
    "/",
    "~",
    "\uff11\uff12\uff13",
    "\uff0b",
    "x",
    "ext.",
    "\U0001f4de",
]


def facts(findings: Any) -> list[tuple[Any, ...]]:
    explained = [(f, f.analysis_explanation.textual_explanation) for f in findings]
    return [
        (f.entity_type, f.start, f.end, f.score, f.recognition_metadata["recognizer_name"], why)
        for f, why in explained
    ]


def a_number(draw: random.Random) -> str:
    d = draw.randrange
    return draw.choice(
        [
            f"({d(200, 999)}) {d(200, 999)}-{d(1000, 9999)}",
            f"+{d(1, 99)} {d(10, 999)} {d(10000, 9999999)}",
            f"\uff0b{d(1, 99)}{d(10, 999)}{d(10000, 9999999)}",
            str(d(10 ** d(3, 14))),
            f"{d(256)}.{d(256)}.{d(256)}.{d(256)}",
            f"20{d(10, 30)}-0{d(1, 9)}-1{d(9)} 12:3{d(9)}:00",
            f"0{d(10, 999)}/{d(10000, 9999999)}",
            f"{d(999)}-{d(999)}-{d(9999)} x{d(99)}",
            f"$ {d(10**6)}",
            f"+44 20 7946 0{d(100, 999)} / 0{d(100, 999)}",
            f"001 {d(200, 999)} {d(200, 999)} {d(1000, 9999)}",
        ]
    )


@pytest.mark.parametrize("seed", range(4))
def test_findings_and_explanations_equal_presidios(seed: int) -> None:
    draw = random.Random(seed)
    theirs, ours = PhoneRecognizer(name="PhoneRecognizer"), SharedPhoneRecognizer(name="PhoneRecognizer")
    found = 0
    for _ in range(120):
        parts = [
            a_number(draw) if draw.random() < 0.5 else draw.choice(WORDS)
            for _ in range(draw.randrange(1, 12))
        ]
        text = draw.choice(["", " "]).join(parts)
        expected = facts(theirs.analyze(text, []))
        assert facts(ours.analyze(text, [])) == expected, text
        assert facts(ours.analyze(text, [])) == expected, "and again, from what it remembers"
        found += len(expected)
    assert found > 50


@pytest.mark.parametrize(
    "text", ["", " ", "no figures at all", "1684", "a8005550187", "8005550187€", "+", "\uff0b1"]
)
def test_edges_equal_presidios(text: str) -> None:
    assert facts(SharedPhoneRecognizer(name="p").analyze(text, [])) == facts(
        PhoneRecognizer(name="p").analyze(text, [])
    )
