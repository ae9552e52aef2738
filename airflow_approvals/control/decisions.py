"""``decide()``: the only writer of decisions, whatever channel a vote came in by.

One transaction: locks in the order run, task instance, inbox row, request, ledger head; then
fresh loads; then state, expiry, identity and policy; then the vote, its entries and messages.
Airflow's own route loads before it locks, which lets two answers at once both win; here the
locks come first, and the vote is UNIQUE per person as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control import airflow_seams, announcements, grants, settlement
from airflow_approvals.control.pins import Pins
from airflow_approvals.control.requesters import Requesters, requesters_of
from airflow_approvals.control.views import show
from airflow_approvals.core.classification import Label
from airflow_approvals.core.decision import Tally, eligible, tally
from airflow_approvals.core.models import Channel, Person, Refusal, RequestState, Verdict, Vote
from airflow_approvals.core.policy import NOTHING_ALLOWS_IT, Bar, Effect, Facts, Policy, stricter
from airflow_approvals.errors import ConfigurationError
from airflow_approvals.store import ledger, policies
from airflow_approvals.store.session import run_transaction
from airflow_approvals.store.tables import RequestRow, VoteRow

MAX_REASON = 2000


@dataclass(frozen=True)
class Decided:
    """A vote that counts, and where the request stands after it."""

    request_id: str
    state: RequestState
    sentence: str


def decide(
    request_id: str, *, person: Person, verdict: Verdict, reason: str, channel: Channel
) -> Decided | Refusal:
    """Cast one person's vote and settle the request when that makes it final.

    :param reason: the voter's words, at most 2,000 characters.
    :returns: what the vote did, or a refusal; refusals are recorded too.
    """
    if len(reason) > MAX_REASON:
        return Refusal("reason_too_long", f"The reason is longer than {MAX_REASON} characters.", 422)
    try:
        outcome = run_transaction(
            lambda session: _decide(session, request_id, person, verdict, reason, channel)
        )
    except ConfigurationError as error:
        return Refusal("not_configured", str(error), 409)
    if isinstance(outcome, Decided) and outcome.state.is_terminal:
        run_transaction(lambda session: _confirm(session, request_id))
    return outcome


def withdraw(request_id: str, *, person: Person, channel: Channel) -> Decided | Refusal:
    """Close a pending request without a decision. Nothing is approved by it, so anybody who may
    act on the gate in Airflow may do it; the caller has checked that.
    """
    return run_transaction(lambda session: _withdraw(session, request_id, person, channel))


def _decide(
    session: Session, request_id: str, person: Person, verdict: Verdict, reason: str, channel: Channel
) -> Decided | Refusal:
    now = datetime.now(UTC)
    found = _lock(session, request_id, now)
    if isinstance(found, Refusal):
        if (closed := session.get(RequestRow, request_id)) is not None:
            _refused(session, closed, person, channel, found, now=now)
        return found
    parked, request = found
    policy = policies.active_policy(session)
    requesters = _requesters_now(session, request)
    barred = frozenset() if _is_rehearsal(request, policy) else requesters.names
    bar = _bar_now(request, policy)
    groups = policy.groups if policy else {}
    if bar.effect is Effect.FORBID:
        because = "The policy in force now forbids it."
        settlement.settle(session, parked, request, RequestState.FORBIDDEN, because, now=now)
        return Refusal("forbidden", because, 409)
    votes = _votes(session, request.id)
    refusal = eligible(bar, groups, barred, person, channel)
    if refusal is None:
        refusal = _voted(votes, person)
    if refusal is not None:
        _refused(session, request, person, channel, refusal, now=now)
        return refusal
    vote = Vote(person, verdict, reason, channel, now)
    _cast(session, request, vote)
    result = tally(bar, groups, barred, [*votes, vote], unattributed=requesters.unattributed)
    if result.state.is_terminal:
        settlement.settle(session, parked, request, result.state, result.because, by=person, now=now)
    else:
        show(session, parked, request)
        announcements.enqueue_update(session, request, now=now)
    return Decided(request.id, result.state, _sentence(result))


def _lock(
    session: Session, request_id: str, now: datetime
) -> tuple[airflow_seams.Parked, RequestRow] | Refusal:
    request = session.get(RequestRow, request_id)
    if request is None:
        return Refusal("unknown_request", "There is no such request.", 404)
    parked = airflow_seams.lock_gate(session, request.place)
    session.refresh(request, with_for_update=True)
    grants.lock_run(session, request.place)
    if request.state == RequestState.PENDING:
        settlement.close_if_due(session, parked, request, now=now)
    if request.state != RequestState.PENDING or parked is None:
        because = f" {request.decided_because}" if request.decided_because else ""
        return Refusal("already_closed", f"The request is already {request.state}.{because}", 409)
    return parked, request


def _requesters_now(session: Session, request: RequestRow) -> Requesters:
    return Requesters.from_text(request.requesters).union(requesters_of(session, request.place))


def _is_rehearsal(request: RequestRow, policy: Policy | None) -> bool:
    """Whether ``dev_mode`` lifts the separation of duties: only where the record will say so."""
    return policy is not None and policy.dev_mode and Pins.from_text(request.pinned).dev_mode


def _bar_now(request: RequestRow, policy: Policy | None) -> Bar:
    """Return the stricter of the bar pinned at registration and the one in force now."""
    pinned = Pins.from_text(request.pinned).bar
    if policy is None:
        return stricter(pinned, NOTHING_ALLOWS_IT)
    return stricter(pinned, policy.judge(Facts(request.action, request.sink, Label.parse(request.label))))


def _votes(session: Session, request_id: str) -> Sequence[Vote]:
    rows = session.scalars(select(VoteRow).where(VoteRow.request_id == request_id).order_by(VoteRow.id))
    return [
        Vote(Person(r.person_id, r.person_name), Verdict(r.verdict), r.reason, Channel(r.channel), r.at)
        for r in rows
    ]


def _voted(votes: Sequence[Vote], person: Person) -> Refusal | None:
    if any(vote.person.id == person.id for vote in votes):
        return Refusal("already_voted", "You have already voted on this request.", 409)
    return None


def _cast(session: Session, request: RequestRow, vote: Vote) -> None:
    session.add(
        VoteRow(
            request_id=request.id,
            person_id=vote.person.id,
            person_name=vote.person.name,
            verdict=vote.verdict,
            reason=vote.reason,
            channel=vote.channel,
            at=vote.at,
        )
    )
    ledger.append(
        session,
        "vote_cast",
        at=vote.at,
        actor=vote.person.id,
        channel=vote.channel,
        request_id=request.id,
        place=request.place,
        details={
            "verdict": vote.verdict.value,
            "reason": vote.reason,
            "name": vote.person.name,
            "manifest": request.manifest_digest,
            "not_evidence": Pins.from_text(request.pinned).dev_mode,
        },
    )


def _refused(
    session: Session,
    request: RequestRow,
    person: Person,
    channel: Channel,
    refusal: Refusal,
    *,
    now: datetime,
) -> None:
    ledger.append(
        session,
        "vote_refused",
        at=now,
        actor=person.id,
        channel=channel,
        request_id=request.id,
        place=request.place,
        details={"code": refusal.code, "name": person.name},
    )


def _sentence(result: Tally) -> str:
    if result.state.is_terminal:
        return result.because
    return f"Your vote is recorded; {result.because}"


def _withdraw(session: Session, request_id: str, person: Person, channel: Channel) -> Decided | Refusal:
    now = datetime.now(UTC)
    found = _lock(session, request_id, now)
    if isinstance(found, Refusal):
        return found
    parked, request = found
    because = f"Withdrawn by {person.name}."
    settlement.settle(session, parked, request, RequestState.WITHDRAWN, because, by=person, now=now)
    return Decided(request.id, RequestState.WITHDRAWN, because)


def _confirm(session: Session, request_id: str) -> None:
    """Read back what was committed; somebody else's answer in its place is a conflict.

    A server without this plugin could still write the inbox row through Airflow's own route.
    """
    request = session.get_one(RequestRow, request_id)
    parked = airflow_seams.lock_gate(session, request.place)
    session.refresh(request, with_for_update=True)
    if parked is None or parked.inbox is None or request.state not in _BY_PEOPLE:
        return
    expected = settlement.option_of(RequestState(request.state))
    if parked.inbox.response_received and parked.inbox.chosen_options != [expected]:
        because = "Another answer stands in Airflow's inbox than the one decided here."
        settlement.mark_conflict(session, request, because, now=datetime.now(UTC))


_BY_PEOPLE = (RequestState.APPROVED, RequestState.REJECTED)
