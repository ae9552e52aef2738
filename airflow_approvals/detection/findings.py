"""The finding: Presidio's own result class, named without importing it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from presidio_analyzer import RecognizerResult

#: Entity type, place (offsets in characters) and score (0 to 1); never a value.
Finding: TypeAlias = "RecognizerResult"

_BY_COLUMN = {"recognizer_name": "Column name"}
#: What only a language model finds: words, of no form of their own.
PROPER_NAMES = frozenset({"PERSON", "NRP", "LOCATION"})
_WORD = re.compile(r"(?<![^\W_])[^\W\d_]{2,}(?![^\W_])")


def certain(entity_type: str, text: str) -> Finding:
    """Return a finding that covers the whole text."""
    from presidio_analyzer import RecognizerResult

    return RecognizerResult(entity_type, 0, len(text), 1.0, recognition_metadata=_BY_COLUMN)


def is_plausible(finding: Finding, text: str) -> bool:
    """Whether what was found can be what it was taken for.

    Language models take ids and measures (``T-00017``, ``869ms``) for names of people and
    places; those have at least one word of two letters.
    """
    if finding.entity_type not in PROPER_NAMES:
        return True
    return _WORD.search(text, finding.start, finding.end) is not None


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
