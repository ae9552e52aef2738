"""Wording: what a reason or a ticket number has to look like, where a rule says so."""

from __future__ import annotations

from collections.abc import Collection

from airflow_approvals.core.patterns import fits


def first_unmatched(patterns: Collection[str], text: str | None) -> str | None:
    """Return the first pattern that the whole text does not match, ``None`` when it matches all.

    Space around the text does not count, and no text is an empty one. What fits, and how long a
    text may be, is as where the pattern was checked: :mod:`airflow_approvals.core.patterns`.
    """
    stripped = (text or "").strip()
    return next((pattern for pattern in patterns if not fits(pattern, stripped)), None)
