"""What people and programs are told, queued in the transaction of what happened.

Everything that happens to a request is announced here, once, as an :class:`Event`; each medium
makes of it what it can: a new message, a message brought up to date, a word in its thread, and a
private message to whoever started the run once there is an outcome.
"""

from __future__ import annotations

import enum
from datetime import datetime

from sqlalchemy.orm import Session

from airflow_approvals.config.settings import Settings
from airflow_approvals.control import events, media, outbox, reminders
from airflow_approvals.control.requesters import TRIGGERED, Requesters
from airflow_approvals.core.models import CHATS, Channel, GrantState, Person
from airflow_approvals.identity.chat_accounts import accounts_of
from airflow_approvals.store import outbox as rows
from airflow_approvals.store.tables import RequestRow


class Event(enum.StrEnum):
    """What can happen to a request, as far as others are told of it."""

    REQUESTED = "requested"
    VERIFIED = "verified"
    VOTED = "voted"
    VOTE_TAKEN_BACK = "vote_taken_back"
    DECIDED = "decided"
    EXPIRED = "expired"
    RELEASED = "released"
    RELEASE_FAILED = "release_failed"
    RECALLED = "recalled"
    REVIEWED = "reviewed"


#: What the end of a grant means to others; one that ran out unused is not told, its time stood there.
OF_GRANTS = {
    GrantState.SPENT: (Event.RELEASED, "Released"),
    GrantState.KILLED: (Event.RECALLED, "The approval is void"),
}
#: What whoever started the run is told in private.
_OUTCOMES = frozenset({Event.DECIDED, Event.EXPIRED, Event.RELEASE_FAILED})
#: Media in which a message has a thread, and in which one account can be written to.
_THREADED: frozenset[str] = CHATS
#: After these a request is closed.
_ENDS = frozenset({Event.DECIDED, Event.EXPIRED})


def announce(
    session: Session,
    request: RequestRow,
    event: Event,
    *,
    sentence: str = "",
    by: Person | None = None,
    now: datetime,
) -> None:
    """Queue what everybody is told of an event.

    :param sentence: what happened, in one sentence without values of the data; shown to all.
    :param by: whose doing it was, for what a person did.
    """
    events.enqueue(session, request, event.value, sentence=sentence, by=by, now=now)
    for medium in media.configured(Settings.load()):
        if event is Event.REQUESTED:
            rows.add(session, request.id, outbox.REQUEST, channel=medium, now=now)
            reminders.plan(session, request, medium=medium, now=now)
        elif event in _ENDS or not media.is_lasting(medium):
            rows.add(session, request.id, outbox.UPDATE, channel=medium, now=now)
        if sentence and medium in _THREADED:
            rows.add(session, request.id, outbox.STORY, channel=medium, text=sentence, now=now)
        if event in _OUTCOMES and medium in _THREADED:
            _tell_starters(session, request, event, sentence, medium=medium, now=now)


def _tell_starters(
    session: Session, request: RequestRow, event: Event, sentence: str, *, medium: str, now: datetime
) -> None:
    """Queue a private message to the linked accounts of who started the run.

    Who only shaped it, by code or by a clear, has not asked for anything and is not written to.
    """
    what = "release failed" if event is Event.RELEASE_FAILED else request.state
    text = f"Your request {request.action} to {request.sink}: {what}. {sentence}".strip()
    starters = {name for name, why in Requesters.from_text(request.requesters).members if why == TRIGGERED}
    for account in sorted(accounts_of(session, starters, Channel(medium))):
        rows.add(session, request.id, outbox.OUTCOME, channel=medium, recipient=account, text=text, now=now)


def whisper(
    session: Session, request: RequestRow, account: str, text: str, *, medium: str, now: datetime
) -> None:
    """Queue a private word to an account of a medium about a request."""
    if medium in media.configured(Settings.load()):
        rows.add(session, request.id, outbox.WHISPER, channel=medium, recipient=account, text=text, now=now)
