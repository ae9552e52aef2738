"""Standing approvals: one unanimous decision that carries over to later requests that are alike.

1. It exists where every matching rule allows one, and once everybody who voted has approved and
   asked for it; the smallest wish counts, and never more than the rules allow.
2. A later request of the same gate, sink and action uses it when its shape is that of the request
   that was approved. Names, sizes, row counts and digests may differ; nothing else may.
3. Each use counts the recorded votes again, with the groups, the policy and the requesters of the
   new run as they are at that moment.
4. Any difference ends it, with the reason in the ledger; people are asked then.
5. Its row is locked before anything is entered, and every use has a UNIQUE number: two requests at
   once never make N uses N + 1.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control import judging, machines, standing_shape, votes
from airflow_approvals.control.pins import Pins
from airflow_approvals.core.bar import Bar, Standing
from airflow_approvals.core.models import Person, Refusal, RequestState, Verdict, Vote
from airflow_approvals.errors import LedgerError
from airflow_approvals.identity.directory import Membership
from airflow_approvals.store import ledger
from airflow_approvals.store.ledger import EntryKind
from airflow_approvals.store.release_tables import StandingRow, StandingUseRow, StandingWishRow
from airflow_approvals.store.tables import RequestRow

LIVE, ENDED = "live", "ended"


@dataclass(frozen=True)
class Wish:
    """What an approver asks for; ``None`` means as much as the rules allow."""

    uses: int | None = None
    within: timedelta | None = None


def wished(session: Session, request: RequestRow, bar: Bar, vote: Vote, wish: Wish | None) -> Refusal | None:
    """Note what the voter asks for beside the vote; without a wish, an earlier one is forgotten.

    It locks what stands for the gate, so it comes before anything is entered for the vote.

    :returns: a refusal ``standing_not_allowed`` (409) or ``standing_too_far`` (422).
    """
    if wish is not None and (refusal := _not_allowed(request, bar, vote, wish)) is not None:
        return refusal
    if (earlier := session.get(StandingWishRow, (request.id, vote.person.id))) is not None:
        session.delete(earlier)
        session.flush()
    if wish is not None and bar.standing is not None:
        lock(session, request)
        within = wish.within or bar.standing.within
        session.add(
            StandingWishRow(
                request_id=request.id,
                person_id=vote.person.id,
                uses=wish.uses or bar.standing.uses,
                within_seconds=int(within.total_seconds()),
            )
        )
    return None


def _not_allowed(request: RequestRow, bar: Bar, vote: Vote, wish: Wish) -> Refusal | None:
    if vote.verdict is not Verdict.APPROVE or bar.standing is None:
        return Refusal("standing_not_allowed", "No standing approval is allowed for this request.", 409)
    unknown = standing_shape.unknown_in(judging.ask_of(request)) or standing_shape.unknown_code(request)
    if unknown is not None:
        return Refusal("standing_not_allowed", f"No standing approval is possible: {unknown}.", 409)
    uses, within = wish.uses or 1, wish.within or timedelta(seconds=1)
    most = bar.standing
    if not 1 <= uses <= most.uses or not timedelta(0) < within <= most.within:
        sentence = f"The policy allows at most {most.uses} uses within {int(most.within.total_seconds())} s."
        return Refusal("standing_too_far", sentence, 422)
    return None


def grant(session: Session, request: RequestRow, bar: Bar, *, now: datetime) -> StandingRow | None:
    """Let a request that was just approved stand for later ones, when everybody asked for that."""
    cast = votes.of_request(session, request.id)
    asked = session.scalars(select(StandingWishRow).where(StandingWishRow.request_id == request.id)).all()
    voters = {vote.person.id for vote in cast}
    wishes = {wish.person_id: wish for wish in asked if wish.person_id in voters}
    unanimous = voters == wishes.keys() and all(vote.verdict is Verdict.APPROVE for vote in cast)
    if bar.standing is None or not wishes or not unanimous:
        return None
    for older in lock(session, request):
        _end(session, older, "another standing approval took its place", by=None, now=now)
    allowed = _least(bar.standing, wishes.values())
    row = StandingRow(
        id=secrets.token_hex(16),
        request_id=request.id,
        dag_id=request.dag_id,
        task_id=request.task_id,
        sink=request.sink,
        action=request.action,
        shape=standing_shape.digest(request),
        uses=allowed.uses,
        used=0,
        not_after=now + allowed.within,
        state=LIVE,
        created_at=now,
    )
    session.add(row)
    session.flush()
    details = {
        "standing": row.id,
        "uses": row.uses,
        "not_after": row.not_after.isoformat(),
        "shape": row.shape,
        "voters": sorted(wishes),
    }
    ledger.append(
        session,
        EntryKind.STANDING_GRANTED,
        at=now,
        request_id=request.id,
        place=request.place,
        details=details,
    )
    return row


def _least(allowed: Standing, wishes: Iterable[StandingWishRow]) -> Standing:
    several = list(wishes)
    uses = min(allowed.uses, *(wish.uses for wish in several))
    seconds = min(wish.within_seconds for wish in several)
    return Standing(uses, min(allowed.within, timedelta(seconds=seconds)))


def lock(session: Session, request: RequestRow) -> Sequence[StandingRow]:
    """Lock and return what stands for the request's gate, sink and action; before any entry."""
    found = select(StandingRow).where(
        StandingRow.dag_id == request.dag_id,
        StandingRow.task_id == request.task_id,
        StandingRow.sink == request.sink,
        StandingRow.action == request.action,
        StandingRow.state == LIVE,
    )
    fresh = found.order_by(StandingRow.id).with_for_update().execution_options(populate_existing=True)
    return session.scalars(fresh).all()


def use(
    session: Session,
    request: RequestRow,
    standing: Sequence[StandingRow],
    members: Membership | None,
    *,
    now: datetime,
) -> tuple[RequestState, str] | None:
    """Use up one of what a standing approval allows, or end it where something is not alike.

    :param standing: from :func:`lock`.
    :param members: resolved before the transaction; without them people are asked.
    :returns: the verdict for the request, ``None`` when people have to be asked.
    """
    if not standing or members is None or members.unresolved:
        return None
    try:
        terms = judging.terms_now(session, request, members)
    except judging.PolicyReplacedError:
        return None
    if judging.lacking_evidence(session, request, terms.bar) is not None:
        return None
    for row in standing:
        if (why := _difference(session, row, request, terms, now)) is not None:
            _end(session, row, why, by=None, now=now)
            continue
        request.requesters = terms.requesters.to_text()
        return RequestState.APPROVED, _count(session, row, request, now=now)
    return None


def _difference(
    session: Session, row: StandingRow, request: RequestRow, terms: judging.Terms, now: datetime
) -> str | None:
    """Return why a standing approval does not carry over to this request."""
    origin = session.get(RequestRow, row.request_id)
    if now >= row.not_after:
        return "its time is up"
    if origin is None or origin.state != RequestState.APPROVED:
        return "the request it came from is no longer approved"
    if terms.bar.standing is None:
        return "the policy no longer allows it"
    if (unknown := standing_shape.unknown_code(request)) is not None:
        return unknown
    if standing_shape.digest(request) != row.shape:
        return f"a request differs in {', '.join(standing_shape.differing(origin, request))}"
    return _not_enough(session, row, terms)


def _not_enough(session: Session, row: StandingRow, terms: judging.Terms) -> str | None:
    """Return why the votes behind it would not approve the run that the terms are of."""
    try:
        cast = votes.of_request(session, row.request_id)
    except LedgerError:
        return "the votes behind it are not those that stand in the ledger"
    voters = {name for vote in cast for name in (vote.person.id, vote.person.name)}
    if shaping := sorted(voters & terms.barred):
        return f"{', '.join(shaping)}, who approved it, started or shaped a run that would use it"
    result = terms.count(cast)
    if result.state is not RequestState.APPROVED:
        return f"the votes behind it are no longer enough: {result.because.rstrip('.')}"
    return None


def _count(session: Session, row: StandingRow, request: RequestRow, *, now: datetime) -> str:
    row.used += 1
    session.add(StandingUseRow(request_id=request.id, standing_id=row.id, number=row.used, used_at=now))
    session.flush()
    details = {"standing": row.id, "use": row.used, "of": row.uses, "approved_request": row.request_id}
    ledger.append(
        session,
        EntryKind.STANDING_USED,
        at=now,
        request_id=request.id,
        place=request.place,
        details=details,
    )
    if row.used >= row.uses:
        _end(session, row, "all its uses are used up", by=None, now=now)
    return (
        f"Approved by standing approval {row.id}, use {row.used} of {row.uses}, "
        f"by the votes on request {row.request_id}."
    )


def votes_behind(session: Session, request: RequestRow) -> Sequence[Vote]:
    """Return the votes that approved a request: its own, or those of the one that stood for it."""
    used = session.get(StandingUseRow, request.id)
    if used is None:
        return votes.of_request(session, request.id)
    return votes.of_request(session, session.get_one(StandingRow, used.standing_id).request_id)


def end(session: Session, standing_id: str, person: Person, members: Membership) -> Refusal | None:
    """End a standing approval; anybody who may decide on such requests may do that.

    It takes a permission away, so having started a run is no bar to it.

    :returns: a refusal ``service_account`` or ``not_eligible`` (403), ``unknown_standing`` (404) or
        ``already_ended`` (409).
    """
    if (machine := machines.refused(person)) is not None:
        return machine
    row = session.get(StandingRow, standing_id, with_for_update=True, populate_existing=True)
    if row is None:
        return Refusal("unknown_standing", "There is no such standing approval.", 404)
    if row.state != LIVE:
        return Refusal("already_ended", f"It has ended already: {row.ended_because}.", 409)
    seats = _seats(session, row)
    names = {person.id, person.name}
    if not any(names & members.groups.get(group, frozenset()) for group in seats):
        return Refusal("not_eligible", "You are in none of the groups that decide these requests.", 403)
    _end(session, row, f"ended by {person.name}", by=person, now=datetime.now(UTC))
    return None


def _seats(session: Session, row: StandingRow) -> set[str]:
    pins = Pins.from_text(session.get_one(RequestRow, row.request_id).pinned)
    return {seat.group for seat in pins.bar.seats}


def _end(session: Session, row: StandingRow, why: str, *, by: Person | None, now: datetime) -> None:
    row.state, row.ended_at, row.ended_because = ENDED, now, why
    session.flush()
    ledger.append(
        session,
        EntryKind.STANDING_ENDED,
        at=now,
        actor=by.id if by is not None else None,
        request_id=row.request_id,
        details={"standing": row.id, "because": why, "used": row.used, "of": row.uses},
    )
