"""Break-glass: in an emergency one person opens a gate alone, loudly, and answers for it.

1. It stands in for votes and for nothing else: what is forbidden, or whose evidence is missing or
   refuted, stays shut, and whoever started or shaped the run opens nothing.
2. The person is of the policy's own group, and gives a reason and a ticket of the demanded form.
3. Everybody whose vote it went without is named on the request and told.
4. There is no next use, at whatever gate, until somebody else has reviewed this one; and no more
   than the policy's number within 30 days.

The locks are those of ``decide()``. Uses at different gates share no row, so the ledger's head is
locked before they are counted: of two at once, the second sees the first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from airflow_approvals.control import announcements, judging, machines, settlement, votes
from airflow_approvals.control.announcements import Event
from airflow_approvals.control.decisions import Decided, confirm, lock_pending
from airflow_approvals.control.judging import Terms
from airflow_approvals.control.views import show
from airflow_approvals.core.models import CHATS, Channel, Person, Refusal, RequestState
from airflow_approvals.core.policy import BreakGlass, Policy
from airflow_approvals.core.seats import Names, spoken
from airflow_approvals.core.wording import first_unmatched
from airflow_approvals.errors import ConfigurationError
from airflow_approvals.identity.chat_accounts import accounts_of
from airflow_approvals.identity.directory import Membership
from airflow_approvals.store import break_glass as uses
from airflow_approvals.store import ledger, policies
from airflow_approvals.store.release_tables import BreakGlassRow
from airflow_approvals.store.session import run_transaction
from airflow_approvals.store.tables import RequestRow

#: The span within which uses are counted.
SPAN = timedelta(days=30)
MAX_TICKET = 250
MAX_TEXT = 2000

UNKNOWN = Refusal("unknown_request", "There is no such request.", 404)
UNKNOWN_PEOPLE = Refusal(
    "people_unknown",
    "Not everybody who started this run is known, or only a command says who, so nobody opens it alone.",
    409,
)
NOT_IN_POLICY = Refusal("no_break_glass", "The active policy has no break-glass.", 403)


@dataclass(frozen=True)
class Emergency:
    """What somebody says who wants to open a gate alone; ``channel`` is how they say it."""

    person: Person
    reason: str
    ticket: str
    channel: Channel


@dataclass(frozen=True)
class Reviewed:
    """A use that has now been reviewed."""

    request_id: str
    reviewed_at: datetime


def open_gate(request_id: str, emergency: Emergency) -> Decided | Refusal:
    """Approve a pending request on one person's word.

    :returns: what it did, or a refusal; every refusal but one for length is recorded.
    """
    if len(emergency.reason) > MAX_TEXT or len(emergency.ticket) > MAX_TICKET:
        sentence = f"The reason has at most {MAX_TEXT} characters and the ticket {MAX_TICKET}."
        return Refusal("reason_too_long", sentence, 422)
    asked = replace(emergency, reason=emergency.reason.strip(), ticket=emergency.ticket.strip())
    outcome = _run(lambda session, members: _open(session, members, request_id, asked))
    if isinstance(outcome, Decided):
        run_transaction(lambda session: confirm(session, request_id))
    return outcome


def review(request_id: str, *, person: Person, text: str, channel: Channel) -> Reviewed | Refusal:
    """Record that somebody else has looked at a use and what they found.

    :param text: the reviewer's words, 1 to 2,000 characters.
    """
    said = text.strip()
    if not 0 < len(said) <= MAX_TEXT:
        return Refusal("review_required", f"A review has 1 to {MAX_TEXT} characters.", 422)
    return _run(lambda session, members: _review(session, members, request_id, person, said, channel))


def _run(work: Callable[[Session, Membership], judging.T]) -> judging.T | Refusal:
    try:
        return judging.with_membership(work)
    except ConfigurationError as error:
        return Refusal("not_configured", str(error), 409)


def _open(session: Session, members: Membership, request_id: str, asked: Emergency) -> Decided | Refusal:
    now = datetime.now(UTC)
    found = lock_pending(session, request_id, now)
    if isinstance(found, Refusal):
        return _refused(session, session.get(RequestRow, request_id), asked.person, asked.channel, found, now)
    parked, request = found
    policy = policies.active_policy(session)
    terms = judging.terms_now(session, request, members)
    refusal = _why_not(session, request, policy, terms, asked, now)
    if policy is None or policy.break_glass is None or refusal is not None:
        return _refused(session, request, asked.person, asked.channel, refusal or NOT_IN_POLICY, now)
    skipped = _skipped(session, request, terms, asked)
    use = _use(request, policy.break_glass, skipped, asked, now)
    session.add(use)
    session.flush()
    request.requesters = terms.requesters.to_text()
    _enter_use(session, request, use, asked)
    because = _because(use)
    settlement.settle(session, parked, request, RequestState.APPROVED, because, by=asked.person, now=now)
    show(session, parked, request, members)
    _tell_skipped(session, request, use, skipped, now)
    return Decided(request.id, RequestState.APPROVED, because)


def _why_not(
    session: Session,
    request: RequestRow,
    policy: Policy | None,
    terms: Terms,
    asked: Emergency,
    now: datetime,
) -> Refusal | None:
    if (machine := machines.refused(asked.person)) is not None:
        return machine
    rule = policy.break_glass if policy is not None else None
    if rule is None:
        return NOT_IN_POLICY
    if (because := judging.why_forbidden(request, terms)) is not None:
        return Refusal("forbidden", f"Break-glass opens nothing forbidden. {because}", 409)
    return (
        _wrong_channel(terms, asked.channel)
        or _wrong_person(rule.group, terms, asked.person)
        or _unknown_people(terms)
        or judging.lacking_evidence(session, request, terms.bar)
        or _wrong_words(rule, asked)
        or _too_many(session, rule, now)
    )


def _wrong_channel(terms: Terms, channel: Channel) -> Refusal | None:
    """A live session on a page always; a token only where tokens vote; chat never."""
    if channel is Channel.UI or (channel is Channel.API and Channel.API in terms.bar.deciding):
        return None
    return Refusal("channel_views_only", "This takes a signed-in session on a page of Airflow.", 403)


def _wrong_person(group: str, terms: Terms, person: Person) -> Refusal | None:
    names = {person.id, person.name}
    if names & terms.barred:
        return Refusal("self_approval", "You started or shaped this run, so somebody else has to do it.", 403)
    if why := terms.membership.unresolved.get(group):
        return Refusal("group_unresolved", f"Group {group} cannot be asked now: {why}", 409)
    if not names & terms.membership.groups.get(group, frozenset()):
        return Refusal("not_eligible", f"You are not in group {group}, which the policy asks for.", 403)
    return None


def _unknown_people(terms: Terms) -> Refusal | None:
    """Whoever would open it may be one of those: nobody can tell."""
    return UNKNOWN_PEOPLE if terms.requesters.is_cut_off else None


def _wrong_words(rule: BreakGlass, asked: Emergency) -> Refusal | None:
    wanted = (("reason", rule.reason, asked.reason), ("ticket", rule.ticket, asked.ticket))
    for name, pattern, text in wanted:
        if not text or first_unmatched((pattern,), text) is not None:
            sentence = f"Break-glass needs a {name} of the form {pattern}."
            return Refusal(f"{name}_required", sentence, 422)
    return None


def _too_many(session: Session, rule: BreakGlass, now: datetime) -> Refusal | None:
    ledger.lock_head(session)
    if (open_use := uses.unreviewed(session)) is not None:
        sentence = f"The use at request {open_use.request_id} has to be reviewed first."
        return Refusal("review_outstanding", sentence, 409)
    if uses.count_since(session, now - SPAN) >= rule.uses:
        sentence = f"Break-glass was used {rule.uses} times within {SPAN.days} days, which is all there is."
        return Refusal("uses_exhausted", sentence, 409)
    return None


def _skipped(session: Session, request: RequestRow, terms: Terms, asked: Emergency) -> list[Names]:
    """Return the people whose votes it goes without, each as all they are called."""
    people = [asked.person, *(vote.person for vote in votes.as_stored(session, request.id))]
    not_skipped = terms.barred.union(*({person.id, person.name} for person in people))
    asked_for = terms.membership.people_in(seat.group for seat in terms.bar.seats)
    return [person for person in asked_for if not person & not_skipped]


def _use(
    request: RequestRow, rule: BreakGlass, skipped: Sequence[Names], asked: Emergency, now: datetime
) -> BreakGlassRow:
    return BreakGlassRow(
        request_id=request.id,
        person_id=asked.person.id,
        person_name=asked.person.name,
        reason=asked.reason,
        ticket=asked.ticket,
        skipped=json.dumps(sorted(spoken(person) for person in skipped)),
        used_at=now,
        review_due_at=now + rule.review_within,
    )


def _because(use: BreakGlassRow) -> str:
    skipped = ", ".join(json.loads(use.skipped)) or "anybody"
    return (
        f"BREAK-GLASS: opened by {use.person_name} alone, ticket {use.ticket}, without the votes of "
        f"{skipped}. To be reviewed by {use.review_due_at:%Y-%m-%d %H:%M} UTC."
    )


def _tell_skipped(
    session: Session, request: RequestRow, use: BreakGlassRow, skipped: Sequence[Names], now: datetime
) -> None:
    """Tell everybody who has a linked chat account; the message of the request names them all."""
    names = frozenset[str]().union(*skipped)
    text = f"{_because(use)} Gate {request.place}. Reason: {use.reason}"
    for chat in sorted(CHATS):
        for account in sorted(accounts_of(session, names, chat)):
            announcements.whisper(session, request, account, text, medium=chat, now=now)


def _review(
    session: Session, members: Membership, request_id: str, person: Person, text: str, channel: Channel
) -> Reviewed | Refusal:
    now = datetime.now(UTC)
    request = session.get(RequestRow, request_id, with_for_update=True)
    use = session.get(BreakGlassRow, request_id, with_for_update=True)
    if request is None or use is None:
        return Refusal("unknown_request", "No gate was opened in an emergency under this request.", 404)
    policy = policies.active_policy(session)
    terms = judging.terms_now(session, request, members)
    if refusal := _why_no_review(use, policy, terms, person, channel):
        return _refused(session, request, person, channel, refusal, now, act="review")
    use.reviewed_at, use.reviewed_by, use.review = now, person.id, text
    details = {"review": text, "name": person.name, "used_by": use.person_id, "ticket": use.ticket}
    ledger.append(
        session,
        "break_glass_reviewed",
        at=now,
        actor=person.id,
        channel=channel,
        request_id=request.id,
        place=request.place,
        details=details,
    )
    sentence = f"{person.name} has reviewed the emergency."
    announcements.announce(session, request, Event.REVIEWED, sentence=sentence, by=person, now=now)
    return Reviewed(request_id, now)


def _why_no_review(
    use: BreakGlassRow, policy: Policy | None, terms: Terms, person: Person, channel: Channel
) -> Refusal | None:
    if (machine := machines.refused(person)) is not None:
        return machine
    if use.reviewed_at is not None:
        return Refusal("already_reviewed", f"{use.reviewed_by} has already reviewed it.", 409)
    if policy is None or policy.break_glass is None:
        return NOT_IN_POLICY
    if {person.id, person.name} & {use.person_id, use.person_name}:
        return Refusal("self_review", "You used it yourself, so somebody else has to review it.", 403)
    return _wrong_channel(terms, channel) or _wrong_person(policy.break_glass.reviewers, terms, person)


def _enter_use(session: Session, request: RequestRow, use: BreakGlassRow, asked: Emergency) -> None:
    details = {
        "name": use.person_name,
        "reason": use.reason,
        "ticket": use.ticket,
        "skipped": json.loads(use.skipped),
        "review_due_at": use.review_due_at.isoformat(),
        "manifest": request.manifest_digest,
    }
    ledger.append(
        session,
        "break_glass_used",
        at=use.used_at,
        actor=use.person_id,
        channel=asked.channel,
        request_id=request.id,
        place=request.place,
        details=details,
    )


def _refused(
    session: Session,
    request: RequestRow | None,
    person: Person,
    channel: Channel,
    refusal: Refusal,
    now: datetime,
    *,
    act: str = "use",
) -> Refusal:
    if request is not None:
        ledger.append(
            session,
            "break_glass_refused",
            at=now,
            actor=person.id,
            channel=channel,
            request_id=request.id,
            place=request.place,
            details={"code": refusal.code, "name": person.name, "act": act},
        )
    return refusal
