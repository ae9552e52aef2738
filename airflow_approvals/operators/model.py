"""Which language model this deployment scans with."""

from __future__ import annotations


def configured_model() -> str | None:
    """Return ``[approvals] model``, ``None`` for the default."""
    from airflow.sdk.configuration import conf

    return (conf.get("approvals", "model", fallback="") or "").strip() or None
