"""From a click in Slack to a decision: whose click it is, on which message, and what is said back.

A click is acknowledged when it lies in the inbox; here it is worked on, once. It counts only
when it comes from the workspace the policy names, on the very message that was posted for that
request, by an account that the policy maps to an Airflow user who may answer the gate. Then
``decide()`` has the word, as for every channel. Every refusal is recorded; its reason is told
in private, but never to another workspace.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy.orm import Session

from airflow_approvals.channels.slack_interaction import Click
from airflow_approvals.control import outbox
from airflow_approvals.control.outbox import Append, Transactions
from airflow_approvals.core.models import Channel, Person, Refusal, Verdict
from airflow_approvals.store import inbox
from airflow_approvals.store import outbox as rows
from airflow_approvals.store.tables import RequestRow

log = logging.getLogger(__name__)

BATCH = 50
_SLACK = Channel.SLACK.value

NO_WORKSPACE = Refusal("slack_not_in_policy", "The active policy does not name a Slack workspace.", 403)
FOREIGN_WORKSPACE = Refusal("foreign_workspace", "Clicks from another workspace do not count.", 403)
UNKNOWN_MESSAGE = Refusal("unknown_message", "This message was not posted for that request.", 404)
NOT_LINKED = Refusal(
    "not_linked",
    "Your Slack account is not linked to an Airflow user, so your click does not count. "
    "Answer in Airflow, or ask for your account to be added to the approvals policy.",
    403,
)
NO_SUCH_USER = Refusal(
    "no_such_user",
    "Your Slack account is linked to an Airflow user who does not exist or is not active.",
    403,
)
NOT_PERMITTED = Refusal(
    "not_permitted",
    "Airflow does not let you answer approvals of this DAG, so your click does not count.",
    403,
)
NOT_PROCESSED = Refusal(
    "not_processed", "Your click could not be processed and does not count. Please answer in Airflow.", 409
)


@dataclass(frozen=True)
class SlackDirectory:
    """What the active policy says about Slack.

    ``team`` is the workspace id (``T…``); ``people`` maps Slack user ids (``U…``) to Airflow
    user names.
    """

    team: str
    people: Mapping[str, str]


class Decide(Protocol):
    """Casts a vote, as :func:`airflow_approvals.control.decisions.decide` does."""

    def __call__(
        self, request_id: str, *, person: Person, verdict: Verdict, reason: str, channel: Channel
    ) -> object:
        """Return a :class:`~airflow_approvals.core.models.Refusal`, or what the vote did."""


@dataclass(frozen=True)
class ChatDeps:
    """What working on clicks rests on.

    ``directory`` reads the active policy (``None``: there is none, or it names no workspace);
    ``find_person`` and ``may_answer`` (Airflow user name, DAG id) ask Airflow's auth manager,
    outside of any transaction; ``decide`` has its own. ``clock`` gives the present, aware.
    """

    run: Transactions
    append: Append
    directory: Callable[[Session], SlackDirectory | None]
    find_person: Callable[[str], Person | None]
    may_answer: Callable[[str, str], bool]
    decide: Decide
    clock: Callable[[], datetime]


@dataclass(frozen=True)
class _Taken:
    """A click at work; ``state`` is the inbox state that marks this attempt."""

    id: str
    state: str
    click: Click
    received_at: datetime


@dataclass(frozen=True)
class _Known:
    """A click whose message and account are known: who it claims to be, and for which DAG."""

    name: str
    dag_id: str


class _NotYet:
    """The post of the message is not recorded yet; the click may be right."""


def keep_click(run: Transactions, callback_id: str, click: Click, *, now: datetime) -> bool:
    """Write a click down, committed on return; return whether it is new (a replay is not)."""
    return run(
        lambda session: inbox.keep(session, callback_id, channel=_SLACK, payload=click.to_text(), now=now)
    )


def process_inbox(deps: ChatDeps) -> int:
    """Work on the clicks that wait; return how many were settled.

    May run in several processes at once. A click whose process died is taken up again.
    """
    waiting = deps.run(lambda s: inbox.waiting(s, channel=_SLACK, now=deps.clock(), limit=BATCH))
    return sum(_process(deps, callback_id) for callback_id in waiting)


def _process(deps: ChatDeps, callback_id: str) -> bool:
    taken = deps.run(lambda session: _take(deps, session, callback_id))
    if taken is None:
        return False
    try:
        return _answer(deps, taken)
    except Exception:
        # It stays taken and is tried again in a while; a fault never counts as a vote.
        log.exception("approvals chat: could not process a click on request %s", taken.click.request_id)
        return False


def _take(deps: ChatDeps, session: Session, callback_id: str) -> _Taken | None:
    row = inbox.take(session, callback_id, now=deps.clock())
    if row is None:
        return None
    session.refresh(row)
    return _Taken(row.id, row.state, Click.from_text(row.payload), row.received_at)


def _answer(deps: ChatDeps, taken: _Taken) -> bool:
    if deps.clock() - taken.received_at >= inbox.GIVE_UP_AFTER:
        return _settle(deps, taken, NOT_PROCESSED, record=True)
    known = deps.run(lambda session: _recognise(deps, session, taken.click))
    if isinstance(known, _NotYet):
        return _put_back(deps, taken)
    if isinstance(known, Refusal):
        return _settle(deps, taken, known, record=True)
    person = _person(deps, known)
    if isinstance(person, Refusal):
        return _settle(deps, taken, person, record=True)
    click = taken.click
    outcome = deps.decide(
        click.request_id, person=person, verdict=click.verdict, reason="", channel=Channel.SLACK
    )
    # decide() records its own refusals.
    return _settle(deps, taken, outcome if isinstance(outcome, Refusal) else None, record=False)


def _recognise(deps: ChatDeps, session: Session, click: Click) -> _Known | Refusal | _NotYet:
    directory = deps.directory(session)
    if directory is None:
        return NO_WORKSPACE
    if (click.team, click.user_team) != (directory.team, directory.team):
        return FOREIGN_WORKSPACE
    request = session.get(RequestRow, click.request_id)
    delivery = rows.delivery_of(session, click.request_id, channel=_SLACK)
    if request is None or delivery is None:
        return UNKNOWN_MESSAGE
    if not delivery.message:
        return _NotYet()
    if delivery.message != click.message:
        return UNKNOWN_MESSAGE
    name = directory.people.get(click.user)
    return NOT_LINKED if name is None else _Known(name, request.dag_id)


def _person(deps: ChatDeps, known: _Known) -> Person | Refusal:
    person = deps.find_person(known.name)
    if person is None:
        return NO_SUCH_USER
    return person if deps.may_answer(known.name, known.dag_id) else NOT_PERMITTED


def _put_back(deps: ChatDeps, taken: _Taken) -> bool:
    deps.run(lambda session: inbox.move(session, taken.id, taken.state, inbox.NEW))
    return False


def _settle(deps: ChatDeps, taken: _Taken, refusal: Refusal | None, *, record: bool) -> bool:
    return deps.run(lambda session: _finish(deps, session, taken, refusal, record))


def _finish(deps: ChatDeps, session: Session, taken: _Taken, refusal: Refusal | None, record: bool) -> bool:
    """Close the click together with what follows from it, unless another attempt has done so."""
    if not inbox.move(session, taken.id, taken.state, inbox.DONE):
        return False
    if refusal is not None:
        _tell(deps, session, taken.click, refusal)
        if record:
            # Last, because it locks the head of the ledger until the transaction ends.
            _record(deps, session, taken.click, refusal)
    return True


def _record(deps: ChatDeps, session: Session, click: Click, refusal: Refusal) -> None:
    request = session.get(RequestRow, click.request_id)
    deps.append(
        session,
        "vote_refused",
        at=deps.clock(),
        actor=click.actor,
        channel=Channel.SLACK,
        request_id=request.id if request else None,
        place=request.place if request else None,
        details={"code": refusal.code, "verdict": click.verdict.value, "message": click.message},
    )


def _tell(deps: ChatDeps, session: Session, click: Click, refusal: Refusal) -> None:
    """Tell the person why, and bring a message up to date that still had its buttons."""
    if refusal in (NO_WORKSPACE, FOREIGN_WORKSPACE, UNKNOWN_MESSAGE):
        return
    now = deps.clock()
    outbox.enqueue(
        session, click.request_id, outbox.WHISPER, recipient=click.user, text=refusal.sentence, now=now
    )
    if refusal.status == 409:
        outbox.enqueue(session, click.request_id, outbox.UPDATE, now=now)
