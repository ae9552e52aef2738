"""Names that are sensitive, and names that say their values are.

A header, a JSON key or a file name is scanned like a value, but a name is not prose: what a
language model sees in ``ticket_city`` is noise, and a date in a file name is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from airflow_approvals.detection.findings import Finding
from airflow_approvals.detection.secrets import ACCESS_TOKEN, API_KEY, PASSWORD, PRIVATE_KEY

_SECRET_NAMES: tuple[tuple[str, re.Pattern[str]], ...] = (
    (PRIVATE_KEY, re.compile(r"private_?key|ssh_?key")),
    (API_KEY, re.compile(r"api_?key|access_?key(_?id)?|account_?key")),
    (
        ACCESS_TOKEN,
        re.compile(r"(access|auth|refresh|session|bearer|id|api|bot)_?token|token|jwt|session_?id"),
    ),
    (
        PASSWORD,
        re.compile(
            r"pass_?word|passwd|pass_?phrase|passcode|pwd|(client_?|app_?)?secret(_?key)?|credentials?"
        ),
    ),
)

_WORDS_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NOT_IN_NAMES = frozenset({"DATE_TIME", "LOCATION", "NRP", "ORGANIZATION", "URL", "UUID"})
_FULL_NAME = re.compile(r"[^\W\d_]{2,}(?:[\s._-]+[^\W\d_]{2,})+")


def secret_entity(name: str) -> str | None:
    """Return the secret that a column of this name holds, ``None`` when the name says nothing.

    Only the last part of a dotted name counts: ``user.password`` holds passwords,
    ``password.changed_at`` does not.
    """
    leaf = name.rsplit(".", 1)[-1].removesuffix("[]")
    words = re.sub(r"[\W_]+", "_", _WORDS_BOUNDARY.sub("_", leaf)).strip("_").lower()
    for entity_type, pattern in _SECRET_NAMES:
        if re.fullmatch(rf"(?:[a-z0-9]+_)*(?:{pattern.pattern})(?:_\d+)?", words):
            return entity_type
    return None


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
        return _FULL_NAME.fullmatch(name[finding.start : finding.end].strip()) is not None
    return finding.entity_type not in _NOT_IN_NAMES
