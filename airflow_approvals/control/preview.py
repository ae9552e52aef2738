"""What a vote would be told, looked up without casting it.

It changes nothing about a request that can be decided, and takes no lock of it: ``decide()`` has
the last word. A request whose time is up, or whose gate has gone, is closed on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from sqlalchemy.orm import Session

from airflow_approvals.control import judging, votes
from airflow_approvals.control.decisions import lock_pending
from airflow_approvals.core.models import Channel, Person, Refusal, RequestState, Verdict
from airflow_approvals.identity.directory import Membership
from airflow_approvals.seams import airflow_seams
from airflow_approvals.store.session import run_read, run_transaction
from airflow_approvals.store.tables import RequestRow


@dataclass(frozen=True)
class Preview:
    """That a vote would count; ``cast`` is what the person has said already."""

    cast: Verdict | None


def preview(request_id: str, *, person: Person, channel: Channel) -> Preview | Refusal:
    """Return whether a vote by this person and channel would count as things stand.

    Asks for groups, so no transaction may be open.
    """
    now = datetime.now(UTC)
    if not run_read(lambda session: _stands_open(session, request_id, now)):
        found = run_transaction(lambda session: lock_pending(session, request_id, now))
        if isinstance(found, Refusal):
            return found
    return judging.while_current(
        lambda: run_read(
            partial(
                _look,
                members=judging.membership_now(),
                request_id=request_id,
                person=person,
                channel=channel,
            )
        )
    )


def objection(request_id: str, person: Person, channel: Channel) -> Refusal | None:
    """Return why the vote would be refused, ``None`` when nothing speaks against it now.

    Asks for groups, so no transaction may be open.
    """
    found = preview(request_id, person=person, channel=channel)
    return found if isinstance(found, Refusal) else None


def _stands_open(session: Session, request_id: str, now: datetime) -> bool:
    request = session.get(RequestRow, request_id)
    if request is None or request.state != RequestState.PENDING or request.expires_at <= now:
        return False
    return airflow_seams.awaits_input(session, request.place, request.ti_id, request.try_number)


def _look(
    session: Session, *, members: Membership, request_id: str, person: Person, channel: Channel
) -> Preview | Refusal:
    request = session.get_one(RequestRow, request_id)
    terms = judging.terms_now(session, request, members)
    if (because := judging.why_forbidden(request, terms)) is not None:
        return Refusal("forbidden", because, 409)
    refusal = judging.ineligible(terms, person, channel)
    refusal = refusal or judging.lacking_evidence(session, request, terms.bar)
    if refusal is not None:
        return refusal
    cast = [vote.verdict for vote in votes.as_stored(session, request_id) if vote.person.id == person.id]
    return Preview(cast[0] if cast else None)
