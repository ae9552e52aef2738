"""The finding: Presidio's own result class, named without importing it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from airflow_approvals.detection.secrets import SECRET_ENTITIES

if TYPE_CHECKING:
    from presidio_analyzer import RecognizerResult

#: Entity type, place (offsets in characters) and score (0 to 1); never a value.
Finding: TypeAlias = "RecognizerResult"

_BY_COLUMN = {"recognizer_name": "Column name"}
#: What only a language model finds: words, of no form of their own.
PROPER_NAMES = frozenset({"PERSON", "NRP", "LOCATION"})
_WORD = re.compile(r"(?<![^\W_])[^\W\d_]{2,}(?![^\W_])")
#: What is written in figures alone and can be a date or a time.
_DATE_IN_FIGURES = re.compile(
    r"\d{1,4}([-/. ])\d{1,2}\1\d{1,4}.*|\d{1,2}:\d{2}.*|\d{1,4}[-/.]\d{1,4}"
    r"|(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{0,6}",
    re.DOTALL,
)
#: Fewer figures are a day, an hour or a year.
_FIGURES_OF_A_DATE = 4
#: A whole that explains what else was found in it.
_WHOLES = frozenset({"IP_ADDRESS", "UUID", "MAC_ADDRESS"})


def certain(entity_type: str, text: str) -> Finding:
    """Return a finding that covers the whole text."""
    from presidio_analyzer import RecognizerResult

    return RecognizerResult(entity_type, 0, len(text), 1.0, recognition_metadata=_BY_COLUMN)


def is_plausible(finding: Finding, text: str) -> bool:
    """Whether what was found can be what it was taken for.

    Language models take ids and measures (``T-00017``, ``869ms``) for names of people and
    places; those have at least one word of two letters. They take any row of figures (``901820``)
    for a date.
    """
    if finding.entity_type == "DATE_TIME":
        return _can_be_a_date(text[finding.start : finding.end])
    if finding.entity_type not in PROPER_NAMES:
        return True
    return _WORD.search(text, finding.start, finding.end) is not None


def plausible(findings: Sequence[Finding], text: str) -> list[Finding]:
    """Return the findings without those that cannot be, alone or beside the others.

    What lies inside an address of a machine or inside a UUID is a part of it: ``192.168.10.24`` is
    nobody's phone number, and the last figures of a UUID are no bank account.
    """
    wholes = [finding for finding in findings if finding.entity_type in _WHOLES]
    return [
        finding
        for finding in findings
        if is_plausible(finding, text) and not any(_is_part(finding, whole) for whole in wholes)
    ]


def _is_part(finding: Finding, whole: Finding) -> bool:
    inside = whole.start <= finding.start and finding.end <= whole.end
    return inside and finding.entity_type not in _WHOLES and finding.entity_type not in SECRET_ENTITIES


def _can_be_a_date(found: str) -> bool:
    if any(character.isalpha() for character in found):
        return True
    figures = sum(character.isdigit() for character in found)
    return figures <= _FIGURES_OF_A_DATE or _DATE_IN_FIGURES.fullmatch(found.strip()) is not None


def occurrences(entity_type: str, value: str, text: str) -> list[Finding]:
    """Return a finding for every place in a text where this very value stands as a whole."""
    if value not in text:
        return []
    from presidio_analyzer import RecognizerResult

    pattern = rf"(?<!\w){re.escape(value)}(?!\w)"
    return [
        RecognizerResult(entity_type, *match.span(), 1.0, recognition_metadata=_BY_COLUMN)
        for match in re.finditer(pattern, text)
    ]
