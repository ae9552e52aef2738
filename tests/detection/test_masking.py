"""Masking: nothing that was found survives, nothing else changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from presidio_analyzer import RecognizerResult

from airflow_approvals.detection.masking import mask_text, residual
from airflow_approvals.detection.profiles import Profile, Transformation, Treatment
from tests.detection import canaries
from tests.detection.engines import masking_engine

PLAIN = Profile("plain", 0.0)
KINDS = ("PERSON", "URL", "PASSWORD", "API_KEY", "DATE_TIME")


@st.composite
def _found(draw: st.DrawFn) -> tuple[str, list[RecognizerResult]]:
    text = draw(st.text(alphabet="abcdef \n", min_size=1, max_size=60))
    spans = st.tuples(
        st.integers(0, len(text) - 1), st.integers(1, 12), st.sampled_from(KINDS), st.floats(0, 1)
    )
    drawn = draw(st.lists(spans, max_size=6))
    return text, [RecognizerResult(k, s, min(len(text), s + n), score) for s, n, k, score in drawn]


@given(_found())
def test_what_is_left_is_exactly_what_no_finding_covers(found: tuple[str, list[RecognizerResult]]) -> None:
    text, findings = found
    erasing = Profile("erasing", 0.0, Transformation.REDACT)
    covered = {i for f in findings for i in range(f.start, f.end)}
    left = mask_text(text, findings, erasing).text
    outside = "".join(c for i, c in enumerate(text) if i not in covered)
    # Line breaks stay, and so does a line of which only blanks were found.
    assert "".join(left.split()) == "".join(outside.split())


@given(_found())
def test_order_of_findings_does_not_matter(found: tuple[str, list[RecognizerResult]]) -> None:
    text, findings = found
    assert mask_text(text, findings, PLAIN).text == mask_text(text, findings[::-1], PLAIN).text


@given(_found())
def test_line_breaks_stay_unless_a_secret_spans_them(found: tuple[str, list[RecognizerResult]]) -> None:
    text, findings = found
    harmless = [f for f in findings if f.entity_type not in ("PASSWORD", "API_KEY")]
    assert mask_text(text, harmless, PLAIN).text.count("\n") == text.count("\n")


def test_overlap_is_named_after_the_secret_then_the_longest() -> None:
    text = "postgres://u:pw@db.example.com"
    findings = [RecognizerResult("URL", 0, 30, 0.9), RecognizerResult("PASSWORD", 13, 15, 1.0)]
    assert mask_text(text, findings, PLAIN).text == "<PASSWORD>"
    findings = [RecognizerResult("URL", 5, 30, 0.2), RecognizerResult("PERSON", 0, 10, 0.9)]
    assert mask_text(text, findings, PLAIN).text == "<URL>"


def test_transformations_do_what_they_say() -> None:
    profile = Profile(
        "each",
        0.5,
        entities={
            "PERSON": Treatment(Transformation.MASK, 0.5),
            "URL": Treatment(Transformation.KEEP, 0.5),
            "UUID": Treatment(Transformation.REDACT, 0.5),
        },
    )
    text = "Ada-1 www.x.y 42 zz"
    findings = [
        RecognizerResult("PERSON", 0, 5, 1.0),
        RecognizerResult("URL", 6, 13, 1.0),
        RecognizerResult("UUID", 14, 16, 1.0),
        RecognizerResult("EMAIL_ADDRESS", 17, 19, 0.4),
    ]
    masked = mask_text(text, findings, profile)
    assert masked.text == "***-* www.x.y  zz"
    assert dict(masked.counts) == {"PERSON": 1, "UUID": 1}


@pytest.mark.parametrize("name", canaries.ALL)
def test_masked_value_leaves_no_trace(name: str) -> None:
    value = canaries.ALL[name][1]
    text = f"It was {value}, they said."
    engine = masking_engine()
    assert engine.profile is not None
    masked = mask_text(text, engine.analyze([text])[0], engine.profile).text
    assert value not in masked
    assert masked.startswith("It was <")


def test_residual_counts_what_placeholders_do_not_explain() -> None:
    text = "<PERSON> Smith and <PERSON>"
    known = frozenset({"PERSON"})
    whole, only = RecognizerResult("PERSON", 0, 14, 0.8), RecognizerResult("PERSON", 20, 26, 0.8)
    assert dict(residual(text, [whole, only], known)) == {"PERSON": 1}
    assert dict(residual("<MY NAME>", [RecognizerResult("PERSON", 0, 9, 0.8)], known)) == {"PERSON": 1}
    assert dict(residual("<CAROL>", [RecognizerResult("PERSON", 1, 6, 0.8)], known)) == {"PERSON": 1}
