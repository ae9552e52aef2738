"""Policies in the database: kept by digest for ever, one of them active."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.config.policy_file import read_policy_text
from airflow_approvals.core.digest import sha256_digest
from airflow_approvals.core.policy import Policy
from airflow_approvals.errors import PolicyError
from airflow_approvals.store import ledger
from airflow_approvals.store.tables import ActivePolicyRow, PolicyRow

#: Parsed policies by digest. A digest says everything about a policy, so nothing gets stale.
_PARSED: dict[str, Policy] = {}
_MOST_PARSED = 8


def store_and_activate(session: Session, policy: Policy, *, actor: str, now: datetime) -> None:
    """Put a policy in force and enter which one it replaces.

    The ledger's head is locked first: of two activations at once, one comes after the other.

    :param actor: who did it, at most 250 characters.
    """
    ledger.lock_head(session)
    if session.get(PolicyRow, policy.digest) is None:
        session.add(PolicyRow(digest=policy.digest, text=policy.text, stored_at=now))
    active = session.get(ActivePolicyRow, 1, populate_existing=True)
    old = active.digest if active else None
    if active is None:
        active = ActivePolicyRow(id=1)
        session.add(active)
    active.digest, active.activated_at, active.activated_by = policy.digest, now, actor
    session.flush()
    details = {"old": old, "new": policy.digest, "not_evidence": policy.dev_mode}
    ledger.append(session, ledger.EntryKind.POLICY_ACTIVATED, at=now, actor=actor, details=details)


def active_digest(session: Session) -> str | None:
    """Return the digest of the policy in force, ``None`` when none was ever activated."""
    return session.scalar(select(ActivePolicyRow.digest).where(ActivePolicyRow.id == 1))


def active_policy(session: Session) -> Policy | None:
    """Return the policy in force, ``None`` when none was ever activated.

    :raises PolicyError: when the stored text is missing or is not what its digest says; then
        nothing may be decided.
    """
    digest = active_digest(session)
    if digest is None:
        return None
    policy = _PARSED.get(digest)
    if policy is None:
        policy = _read(session, digest)
        if len(_PARSED) >= _MOST_PARSED:
            _PARSED.clear()
        _PARSED[digest] = policy
    return policy


def _read(session: Session, digest: str) -> Policy:
    text = session.scalar(select(PolicyRow.text).where(PolicyRow.digest == digest))
    if text is None or sha256_digest(text.encode()) != digest:
        raise PolicyError(
            "The text of the active policy is missing or is not what its digest says.",
            "Run `airflow approvals policy activate`, and find out who changed the database.",
        )
    return read_policy_text(text, "the active policy")
