"""Masking: findings applied to a text.

1. Overlapping findings become one span that covers them all; nothing of either survives.
2. The winner names the span: a secret before anything else, then the longest, then the
   highest score, then the name.
3. Line breaks stay where they are, except inside a secret that spans lines.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from airflow_approvals.detection.findings import Finding
from airflow_approvals.detection.generalising import generalised
from airflow_approvals.detection.profiles import Profile, Transformation, Treatment
from airflow_approvals.detection.pseudonyms import PseudonymKey
from airflow_approvals.detection.secrets import SECRET_ENTITIES
from airflow_approvals.errors import ConfigurationError

#: ``<PERSON>``, or a pseudonym: see :mod:`airflow_approvals.detection.pseudonyms`.
PLACEHOLDER = re.compile(r"<([A-Z][A-Z0-9_]*)(?::[a-z][a-z0-9]{0,7}\.[a-z2-7]{26})?>")
_SIGN = re.compile(r"[^\W_]|_")
_VISIBLE = re.compile(r"[^\W_]")
_NEWLINES = re.compile(r"(\r\n|\r|\n)")


@dataclass(frozen=True)
class Masked:
    """A masked text and what was masked in it, by entity type."""

    text: str
    counts: Counter[str]


@dataclass
class _Span:
    start: int
    end: int
    winner: Finding


def mask_text(
    text: str, findings: Sequence[Finding], profile: Profile, key: PseudonymKey | None = None
) -> Masked:
    """Apply the profile's transformations to the findings in a text.

    Findings whose entity type is kept are left alone, and so is what they alone cover.

    :param key: what pseudonyms are made with.
    :raises ConfigurationError: when the profile makes pseudonyms and there is no key.
    """
    require_key(profile, key)
    counts: Counter[str] = Counter()
    parts: list[str] = []
    position = 0
    for span in _merged(_to_mask(findings, profile)):
        kind = span.winner.entity_type
        parts += [text[position : span.start], _transformed(text[span.start : span.end], kind, profile, key)]
        position = span.end
        counts[kind] += 1
    return Masked("".join(parts) + text[position:], counts)


def residual(text: str, findings: Sequence[Finding], placeholders: frozenset[str]) -> Counter[str]:
    """Count the findings by entity type, without those that only found a placeholder.

    :param placeholders: entity types whose placeholders a masked copy holds.
    """
    counts: Counter[str] = Counter()
    for span in _merged(list(findings)):
        found = text[span.start : span.end]
        left = PLACEHOLDER.sub(
            lambda match: "" if match[1] in placeholders else match[0], _whole(text, span, found)
        )
        if _VISIBLE.search(left):
            counts[span.winner.entity_type] += 1
    return counts


def _whole(text: str, span: _Span, found: str) -> str:
    """Return the found text, completed when it begins or ends inside a placeholder."""
    start, end = span.start, span.end
    for match in PLACEHOLDER.finditer(text, max(0, start - 64), min(len(text), end + 64)):
        if match.start() < end and match.end() > start:
            start, end = min(start, match.start()), max(end, match.end())
    return text[start:end] if (start, end) != (span.start, span.end) else found


def _to_mask(findings: Sequence[Finding], profile: Profile) -> list[Finding]:
    return [
        finding
        for finding in findings
        if profile.treatment(finding.entity_type).transformation is not Transformation.KEEP
        and finding.score >= profile.treatment(finding.entity_type).threshold
        and finding.end > finding.start
    ]


def _merged(findings: list[Finding]) -> Iterator[_Span]:
    current: _Span | None = None
    for finding in sorted(findings, key=lambda f: (f.start, f.end, f.entity_type)):
        if current is None or finding.start >= current.end:
            if current is not None:
                yield current
            current = _Span(finding.start, finding.end, finding)
            continue
        current.end = max(current.end, finding.end)
        current.winner = max(current.winner, finding, key=_rank)
    if current is not None:
        yield current


def _rank(finding: Finding) -> tuple[bool, int, float, str]:
    secret = finding.entity_type in SECRET_ENTITIES
    return secret, finding.end - finding.start, finding.score, finding.entity_type


def require_key(profile: Profile, key: PseudonymKey | None) -> None:
    """:raises ConfigurationError: when the profile makes pseudonyms and there is no key."""
    if key is None and profile.needs_key:
        raise ConfigurationError(
            f"The masking profile {profile.name!r} makes pseudonyms, which takes a key.",
            "Name the Connection that holds it: key_conn_id; see docs/masking.md.",
        )


def _transformed(value: str, entity_type: str, profile: Profile, key: PseudonymKey | None) -> str:
    treatment = profile.treatment(entity_type)
    if entity_type in SECRET_ENTITIES:
        # Passwords are few and used again: a name that is theirs alone would say too much.
        return _one_line(value, entity_type, treatment, None)
    lines = _NEWLINES.split(value)
    return "".join(
        part if index % 2 or not part.strip() else _one_line(part, entity_type, treatment, key)
        for index, part in enumerate(lines)
    )


def _one_line(value: str, entity_type: str, treatment: Treatment, key: PseudonymKey | None) -> str:
    if treatment.transformation is Transformation.REDACT:
        return ""
    if treatment.transformation is Transformation.MASK:
        return _starred(value, treatment.show_last)
    if treatment.transformation is Transformation.PSEUDONYM and key is not None:
        return key.pseudonym(value, entity_type)
    coarser = None
    if treatment.transformation is Transformation.GENERALISE:
        coarser = generalised(value, entity_type, treatment.to)
    return coarser or f"<{entity_type}>"


def _starred(value: str, show_last: int) -> str:
    """Put a star for every letter and digit but the last ones; a value that is hardly longer shows none."""
    signs = list(_SIGN.finditer(value))
    shown = signs[-show_last].start() if show_last and len(signs) >= 3 * show_last else len(value)
    return _SIGN.sub("*", value[:shown]) + value[shown:]
