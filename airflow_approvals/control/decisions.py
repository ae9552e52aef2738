"""``decide()``: the only writer of decisions, whatever channel a vote came in by.

One transaction: locks in the order task instance, inbox row, request, ledger head; then
fresh loads; then state, expiry, identity and policy; then the vote, its entries and messages.
Airflow's own route loads before it locks, which lets two answers at once both win; here the
locks come first, and the vote is UNIQUE per person as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from airflow_approvals.control import announcements, faults, grants, judging, settlement, standing, votes
from airflow_approvals.control.announcements import Event
from airflow_approvals.control.views import show
from airflow_approvals.control.votes import Check
from airflow_approvals.core.bar import Bar
from airflow_approvals.core.decision import Tally
from airflow_approvals.core.models import Channel, Person, Place, Refusal, RequestState, Verdict, Vote
from airflow_approvals.core.wording import first_unmatched
from airflow_approvals.errors import ConfigurationError
from airflow_approvals.identity.directory import Membership
from airflow_approvals.seams import airflow_seams
from airflow_approvals.store import custody, ledger
from airflow_approvals.store.session import run_transaction
from airflow_approvals.store.tables import RequestRow

MAX_REASON = 2000


@dataclass(frozen=True)
class Decided:
    """A vote that counts, and where the request stands after it."""

    request_id: str
    state: RequestState
    sentence: str


def decide(
    request_id: str,
    *,
    person: Person,
    verdict: Verdict,
    reason: str,
    channel: Channel,
    wish: standing.Wish | None = None,
    ticket: str = "",
    check: Check | None = None,
    said_at: datetime | None = None,
    account: str = "",
) -> Decided | Refusal:
    """Cast one person's vote and settle the request when that makes it final.

    :param reason: the voter's words, at most 2,000 characters.
    :param wish: that an approval carry over to later requests that are alike.
    :param ticket: a ticket number to enter with the vote.
    :param check: what the channel demands besides, such as that the form was not used before. What it
        writes is committed with the vote, and only then.
    :param account: the chat account that says so, which may be barred by itself.
    :param said_at: when the person said so, where that may be long ago: what they have said since counts.
    :returns: what the vote did, or a refusal; refusals are recorded too.
    """
    if len(reason) > MAX_REASON:
        return Refusal("reason_too_long", f"The reason is longer than {MAX_REASON} characters.", 422)
    return _confirmed(
        _with_membership(
            lambda session, members: _decide(
                session,
                members,
                request_id,
                Vote(person, verdict, reason, channel, datetime.now(UTC), ticket, account, said_at),
                wish,
                votes.unless_overtaken(person, said_at, check),
            )
        )
    )


def take_back(request_id: str, *, person: Person, channel: Channel) -> Decided | Refusal:
    """Take back one's own vote on a pending request, by a channel that decides.

    :returns: where the request stands without it, or a refusal (``not_voted`` when there is none).
    """
    return _confirmed(
        _with_membership(lambda session, members: _take_back(session, members, request_id, person, channel))
    )


def _confirmed(outcome: Decided | Refusal) -> Decided | Refusal:
    if isinstance(outcome, Decided) and outcome.state.is_terminal:
        try:
            run_transaction(lambda session: confirm(session, outcome.request_id))
        except Exception as error:
            # The vote is committed and counts: its person must not be told otherwise.
            faults.report("look again at what was decided", error)
    return outcome


def _with_membership(
    work: Callable[[Session, Membership], Decided | Refusal],
) -> Decided | Refusal:
    try:
        return judging.with_membership(work)
    except ConfigurationError as error:
        return Refusal("not_configured", str(error), 409)


def withdraw(request_id: str, *, person: Person, channel: Channel) -> Decided | Refusal:
    """Close a pending request without a decision. Nothing is approved by it, so anybody who may
    act on the gate in Airflow may do it; the caller has checked that.
    """
    return run_transaction(lambda session: _withdraw(session, request_id, person, channel))


def enter_not_permitted(
    place: Place, request_id: str | None, *, person: Person, channel: Channel, now: datetime
) -> None:
    """Enter the attempt of somebody whom Airflow does not let answer the gate at all.

    :param request_id: ``None`` while the gate's request is still being registered.
    """
    details = {"code": "not_permitted", "name": person.name}

    def enter(session: Session) -> None:
        ledger.append(
            session,
            "vote_refused",
            at=now,
            actor=person.id,
            channel=channel,
            request_id=request_id,
            place=place,
            details=details,
        )

    run_transaction(enter)


def _decide(
    session: Session,
    members: Membership,
    request_id: str,
    vote: Vote,
    wish: standing.Wish | None,
    check: Check | None,
) -> Decided | Refusal:
    now = vote.at
    found = lock_pending(session, request_id, now)
    if isinstance(found, Refusal):
        if (closed := session.get(RequestRow, request_id)) is not None:
            _refused(session, closed, vote.person, vote.channel, found, now=now)
        return found
    parked, request = found
    terms = judging.terms_now(session, request, members)
    if (because := judging.why_forbidden(request, terms)) is not None:
        settlement.settle(session, parked, request, RequestState.FORBIDDEN, because, now=now)
        return Refusal("forbidden", because, 409)
    refusal = judging.ineligible(terms, vote.person, vote.channel, vote.account)
    refusal = refusal or _without_evidence(session, request, terms.bar, now=now)
    if refusal is not None:
        _refused(session, request, vote.person, vote.channel, refusal, now=now)
        return refusal
    if (pattern := _unmatched_reason(terms.bar, vote)) is not None:
        # Nothing is entered: whoever leaves out the reason has not tried to get around anything.
        return Refusal("reason_required", _SAY_WHY.format(pattern), 422)
    refusal = check(session, request, terms.bar) if check is not None else None
    refusal = refusal or standing.wished(session, request, terms.bar, vote, wish)
    if refusal is not None:
        return refusal
    votes.record(session, request, vote)
    result = terms.count(votes.of_request(session, request.id))
    if result.state.is_terminal:
        _settle(session, parked, request, terms, result, by=vote.person, now=now)
    else:
        said = f"{vote.person.name} votes to {vote.verdict}; {result.because}"
        _tell(session, parked, request, members, Event.VOTED, said, by=vote.person, now=now)
    return Decided(request.id, result.state, _sentence("recorded", result))


def _settle(
    session: Session,
    parked: airflow_seams.Parked,
    request: RequestRow,
    terms: judging.Terms,
    result: Tally,
    *,
    by: Person,
    now: datetime,
) -> None:
    request.requesters = terms.requesters.to_text()
    settlement.settle(session, parked, request, result.state, result.because, by=by, now=now)
    if result.state is RequestState.APPROVED:
        standing.grant(session, request, terms.bar, now=now)


def _without_evidence(session: Session, request: RequestRow, bar: Bar, *, now: datetime) -> Refusal | None:
    refusal = judging.lacking_evidence(session, request, bar)
    if refusal is not None and refusal.code == "evidence_pending":
        # A policy that was activated meanwhile may be the first to ask for it.
        custody.enqueue(session, request.id, custody.JobKind.VERIFY, now=now)
    return refusal


def _unmatched_reason(bar: Bar, vote: Vote) -> str | None:
    return first_unmatched(bar.approver_reason, vote.reason) if vote.verdict is Verdict.APPROVE else None


_SAY_WHY = "An approval needs a reason of the form {0}, and yours has another; vote again with such a reason."


def _take_back(
    session: Session, members: Membership, request_id: str, person: Person, channel: Channel
) -> Decided | Refusal:
    now = datetime.now(UTC)
    found = lock_pending(session, request_id, now)
    if isinstance(found, Refusal):
        return found
    parked, request = found
    terms = judging.terms_now(session, request, members)
    if channel not in terms.bar.deciding:
        sentence = "This request can be seen here, but not decided, so votes stay as they are."
        return Refusal("channel_views_only", sentence, 403)
    # Before anything is entered: settling may let the approval stand for later requests.
    standing.lock(session, request)
    if not votes.take_back(session, request, person, channel, now=now):
        return Refusal("not_voted", "You have no vote on this request.", 404)
    result = _without_vote(session, request, terms)
    if result.state.is_terminal:
        _settle(session, parked, request, terms, result, by=person, now=now)
    else:
        said = f"{person.name} takes the vote back; {result.because}"
        _tell(session, parked, request, members, Event.VOTE_TAKEN_BACK, said, by=person, now=now)
    return Decided(request.id, result.state, _sentence("taken back", result))


def _without_vote(session: Session, request: RequestRow, terms: judging.Terms) -> Tally:
    """Return what the votes that are left come to: meanwhile they may be enough by themselves."""
    if (because := judging.why_forbidden(request, terms)) is not None:
        return Tally(RequestState.FORBIDDEN, because, (), 0)
    result = terms.count(votes.of_request(session, request.id))
    lacking = judging.lacking_evidence(session, request, terms.bar)
    if lacking is not None and result.state is RequestState.APPROVED:
        because = lacking.sentence[:1].lower() + lacking.sentence[1:]
        return replace(result, state=RequestState.PENDING, because=because)
    return result


def _tell(
    session: Session,
    parked: airflow_seams.Parked,
    request: RequestRow,
    members: Membership,
    event: Event,
    sentence: str,
    *,
    by: Person,
    now: datetime,
) -> None:
    show(session, parked, request, members)
    announcements.announce(session, request, event, sentence=sentence, by=by, now=now)


def lock_pending(
    session: Session, request_id: str, now: datetime
) -> tuple[airflow_seams.Parked, RequestRow] | Refusal:
    """Lock a pending request with all that settling it takes, or say why it cannot be decided."""
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


def _sentence(what: str, result: Tally) -> str:
    if result.state.is_terminal:
        return result.because
    return f"Your vote is {what}; {result.because}"


def _withdraw(session: Session, request_id: str, person: Person, channel: Channel) -> Decided | Refusal:
    now = datetime.now(UTC)
    found = lock_pending(session, request_id, now)
    if isinstance(found, Refusal):
        return found
    parked, request = found
    because = f"Withdrawn by {person.name}."
    settlement.settle(session, parked, request, RequestState.WITHDRAWN, because, by=person, now=now)
    return Decided(request.id, RequestState.WITHDRAWN, because)


def confirm(session: Session, request_id: str) -> None:
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
