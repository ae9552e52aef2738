"""Whether what counts now stands in the ledger: the policy in force, open votes, usable grants.

The owner of the database can write rows as the server does. Without the entries they change nothing
for votes (:func:`airflow_approvals.control.votes.of_request` refuses to count), and this finds them.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from airflow_approvals.control import grants, votes
from airflow_approvals.core.models import RequestState
from airflow_approvals.errors import LedgerError
from airflow_approvals.store import ledger, policies
from airflow_approvals.store.ledger import EntryKind
from airflow_approvals.store.tables import GrantRow, RequestRow


def differences(session: Session) -> Iterator[str]:
    """Yield what counts now and does not stand in the ledger, a sentence each."""
    before, active, after = _activated(session), policies.active_digest(session), _activated(session)
    # The entry is read on both sides: an activation in between is no difference.
    if active not in (before, after):
        yield f"The policy in force is {active}, and the one that was activated last is {after}."
    usable = select(GrantRow).where(GrantRow.state.in_(grants.USABLE)).order_by(GrantRow.issued_at)
    for grant in session.scalars(usable):
        issued = ledger.entries_of(session, grant.request_id, {EntryKind.GRANT_ISSUED})
        if not any(one["details"].get("grant") == grant.id for one in issued):
            yield f"Grant {grant.id} of request {grant.request_id} was never issued."
    for request_id in _counting(session):
        # A vote that is committed between the two readings is no difference.
        found = [_difference(session, request_id) for _ in range(2)]
        if found[0] is not None and found[1] is not None:
            yield found[1]


def _difference(session: Session, request_id: str) -> str | None:
    try:
        votes.of_request(session, request_id)
    except LedgerError as error:
        return error.message
    return None


def _activated(session: Session) -> str | None:
    entry = ledger.newest_of_kind(session, EntryKind.POLICY_ACTIVATED)
    return entry["details"].get("new") if entry is not None else None


def _counting(session: Session) -> list[str]:
    with_grants = select(GrantRow.request_id).where(GrantRow.state.in_(grants.USABLE))
    counting = or_(RequestRow.state == RequestState.PENDING, RequestRow.id.in_(with_grants))
    return list(session.scalars(select(RequestRow.id).where(counting).order_by(RequestRow.created_at)))
