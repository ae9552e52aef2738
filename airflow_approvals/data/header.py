"""Whether the first line of a table is its header, or data that lost one.

Column names are shown to approvers and are hardly masked, so data must not pass for them. The
first line is data when

1. one cell is a bare number, date or time, or
2. two cells are values, one of them of a form that is no word (e-mail address, phone number, key,
   card), or
3. two cells, and at least half of those that are not empty, are values: a language model takes
   some honest names (``Ship Mode``, ``Straße``) for people or places, but not most of a line.

A value is what detection finds in a cell. Names of columns by common usage are none: years,
numbers that count up (``0,1,2``), months and quarters, and what names a kind of value (``city``).
One sensitive name among honest ones stays a name, and is masked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from airflow_approvals.detection.columns import column_entity
from airflow_approvals.detection.findings import PROPER_NAMES, Finding, is_plausible
from airflow_approvals.detection.names import name_findings

MIN_VALUES = 2
#: Fewer numbers that happen to follow each other are an id and a count.
MIN_COUNTING = 3

_NUMBER = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:[.,]\d{3})+)(?:[.,]\d+)?")
_YEAR = re.compile(r"(?:19|20)\d\d")
_DATE = r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}([-/.])\d{1,2}\1(?:\d{4}|\d{2})"
_TIME = r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d+)?)?(?:\s*(?:Z|[AaPp][Mm]|[+-]\d\d:?\d\d))?"
_MOMENT = re.compile(rf"(?:{_DATE})(?:[T ]\s*{_TIME})?|{_TIME}")


def is_data(cells: Sequence[str], findings: Sequence[Sequence[Finding]]) -> bool:
    """Whether a first line of these cells is data.

    :param findings: what detection found in each cell.
    """
    texts = [cell.strip() for cell in cells]
    if any(map(_is_bare, _without_counting(texts))):
        return True
    forms = sum(_has_form(text, found) for text, found in zip(cells, findings, strict=True))
    words = sum(_is_proper_name(text, found) for text, found in zip(cells, findings, strict=True))
    if not forms + words:
        return False
    values = forms + words + sum(_YEAR.fullmatch(text) is not None for text in texts)
    enough = forms > 0 or 2 * values >= sum(bool(text) for text in texts)
    return values >= MIN_VALUES and enough


def _without_counting(texts: list[str]) -> list[str]:
    numbers = [text for text in texts if _NUMBER.fullmatch(text)]
    if len(numbers) < MIN_COUNTING or not all(re.fullmatch(r"[0-9]{1,9}", text) for text in numbers):
        return texts
    first = int(numbers[0])
    if [int(text) for text in numbers] != list(range(first, first + len(numbers))):
        return texts
    return [text for text in texts if text not in numbers]


def _is_bare(text: str) -> bool:
    if _YEAR.fullmatch(text):
        return False
    return _NUMBER.fullmatch(text) is not None or _MOMENT.fullmatch(text) is not None


def _has_form(text: str, findings: Sequence[Finding]) -> bool:
    return any(found.entity_type not in PROPER_NAMES for found in name_findings(text, findings))


def _is_proper_name(text: str, findings: Sequence[Finding]) -> bool:
    """Whether all of a cell is a name of somebody or some place, and nothing else is in it."""
    if column_entity(text) is not None or _has_form(text, findings):
        return False
    return any(
        found.entity_type in PROPER_NAMES
        and is_plausible(found, text)
        and text[found.start : found.end].strip() == text.strip()
        for found in findings
    )
