"""Names that are themselves sensitive.

A header, a JSON key or a file name is scanned like a value, but a name is not prose: what a
language model sees in ``ticket_city`` is noise, and a date in a file name is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from airflow_approvals.detection.findings import Finding

_NOT_IN_NAMES = frozenset({"DATE_TIME", "LOCATION", "NRP", "ORGANIZATION", "URL", "UUID"})
_FULL_NAME = re.compile(r"\w+(?:[\s._-]+\w+)+")


def spaced(name: str) -> str:
    """Return the name as prose, every character in its place: what detection reads."""
    return re.sub(r"[_]", " ", name)


def name_findings(name: str, findings: Sequence[Finding]) -> list[Finding]:
    """Keep the findings that make a name sensitive.

    A person counts only with a first and a last name: single words are too often taken for one.
    """
    return [finding for finding in findings if _counts(name, finding)]


def _counts(name: str, finding: Finding) -> bool:
    if finding.entity_type == "PERSON":
        found = name[finding.start : finding.end].strip()
        return _FULL_NAME.fullmatch(found) is not None and found.title() == found
    return finding.entity_type not in _NOT_IN_NAMES
