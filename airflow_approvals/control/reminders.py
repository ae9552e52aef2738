"""Reminders and escalations: planned when a request is announced, worded when they fall due.

Each is a row of the outbox that falls due later, so waiting for it costs nothing. What it says is
read at that moment: nothing about a request that is final, and only those are named who may still
decide. An escalation adds eyes. It lowers no seat, and nobody votes by having been told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from sqlalchemy.orm import Session

from airflow_approvals.control import judging, machines, votes
from airflow_approvals.control.judging import Terms
from airflow_approvals.control.pins import Pins
from airflow_approvals.core.decision import names_of
from airflow_approvals.core.models import Channel, RequestState, Verdict, Vote
from airflow_approvals.core.seats import Names, distinct, spoken, who_helps
from airflow_approvals.errors import UnavailableError
from airflow_approvals.identity.chat_accounts import accounts_of
from airflow_approvals.identity.directory import Membership
from airflow_approvals.store import outbox as rows
from airflow_approvals.store.ledger import EntryKind
from airflow_approvals.store.session import run_read
from airflow_approvals.store.tables import RequestRow

REMIND = "remind"
ESCALATE = "escalate"
#: Kind of the outbox row -> kind of the ledger entry once it was said.
ENTRIES = {REMIND: EntryKind.REMINDER_SENT, ESCALATE: EntryKind.ESCALATED}


@dataclass(frozen=True)
class Nudge:
    """What to say in the thread of a request: to whom, by Airflow name and by their chat accounts."""

    text: str
    people: tuple[str, ...]
    slack_users: tuple[str, ...]
    teams_users: tuple[str, ...] = ()

    def accounts(self, medium: str) -> tuple[str, ...]:
        """Return the accounts of the people in a medium; none in one that has no accounts."""
        by_medium = {Channel.SLACK.value: self.slack_users, Channel.TEAMS.value: self.teams_users}
        return by_medium.get(medium, ())


def plan(session: Session, request: RequestRow, *, medium: str, now: datetime) -> None:
    """Queue what falls due while the request is open, once per request.

    The waits count from the registration; what is past by now falls due at once.
    """
    bar = Pins.from_text(request.pinned).bar
    if rows.has_any(session, request.id, tuple(ENTRIES), channel=medium):
        return
    planned = [(after, REMIND, "") for after in bar.remind]
    planned += [(one.after, ESCALATE, one.group) for one in bar.escalate]
    for after, kind, group in planned:
        due = request.created_at + after
        if due < request.expires_at:
            rows.add(
                session,
                request.id,
                kind,
                channel=medium,
                recipient=group,
                now=now,
                due=max(due, now),
            )


def word(request_id: str, kind: str, group: str) -> Nudge | None:
    """Return what to say about a request now, ``None`` when there is nothing left to say.

    Asks for groups, so no transaction may be open.

    :param group: who is told as well, for an escalation.
    """
    return judging.while_current(
        lambda: run_read(
            partial(_word, members=judging.membership_now(), request_id=request_id, kind=kind, group=group)
        )
    )


def _word(session: Session, *, members: Membership, request_id: str, kind: str, group: str) -> Nudge | None:
    request = session.get(RequestRow, request_id)
    if request is None or request.state != RequestState.PENDING or request.expires_at <= datetime.now(UTC):
        return None
    terms = judging.terms_now(session, request, members)
    cast = votes.as_stored(session, request_id)
    told = members.people_in([group]) if kind == ESCALATE else who_may_still_decide(terms, cast)
    people = tuple(sorted(spoken(person) for person in told))
    if not people:
        _require_known(members, [group] if kind == ESCALATE else [seat.group for seat in terms.bar.seats])
        return None
    text = " ".join(_sentences(request, terms, cast, kind, group, people))
    names = frozenset[str]().union(*told)
    slack, teams = (
        tuple(sorted(accounts_of(session, names, chat))) for chat in (Channel.SLACK, Channel.TEAMS)
    )
    return Nudge(text, people, slack, teams)


def _require_known(members: Membership, groups: Sequence[str]) -> None:
    """Have the row tried again where nobody is named only because a group cannot be asked.

    :raises UnavailableError: then.
    """
    if unknown := sorted(set(groups) & set(members.unresolved)):
        raise UnavailableError(f"Group {unknown[0]} cannot be asked, so nobody is reminded yet.")


def who_may_still_decide(terms: Terms, cast: Sequence[Vote]) -> list[Names]:
    """Return who could bring the request further: each person as all they are called."""
    seats, groups = terms.bar.seats, terms.membership.groups
    approving = [names_of(vote.person) for vote in terms.counted(cast) if vote.verdict is Verdict.APPROVE]
    voted = frozenset[str]().union(*(names_of(vote.person) for vote in cast))
    members = terms.membership.people_in(seat.group for seat in seats)
    free = [person for person in members if not person & (terms.barred | machines.listed() | voted)]
    return list(who_helps(seats, groups, distinct(approving), free))


def _sentences(
    request: RequestRow, terms: Terms, cast: Sequence[Vote], kind: str, group: str, people: tuple[str, ...]
) -> Iterator[str]:
    if kind == ESCALATE:
        yield f"This request still waits, so {group} is told as well; being told gives nobody a vote."
    else:
        yield "This request still waits for a decision."
    yield f"{request.action} to {request.sink}: {terms.count(cast).because}"
    yield f"It closes at {request.expires_at:%Y-%m-%d %H:%M} UTC, and silence never approves."
    yield f"{'Told' if kind == ESCALATE else 'May still decide'}: {', '.join(people)}."
