"""The finding: Presidio's own result class, named without importing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from presidio_analyzer import RecognizerResult

#: Entity type, place (offsets in characters) and score (0 to 1); never a value.
Finding: TypeAlias = "RecognizerResult"


def certain(entity_type: str, text: str) -> Finding:
    """Return a finding that covers the whole text."""
    from presidio_analyzer import RecognizerResult

    return RecognizerResult(entity_type, 0, len(text), 1.0)
