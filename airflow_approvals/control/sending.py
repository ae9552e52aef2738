"""One row of the outbox on its way: what is known of it, and how it is said.

What is shown is read here, after the row was claimed, and while no transaction is open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from sqlalchemy.orm import Session

from airflow_approvals.channels.courier import Courier
from airflow_approvals.channels.facts import RequestFacts
from airflow_approvals.channels.failures import RetryLaterError
from airflow_approvals.control.reminders import ENTRIES, Nudge
from airflow_approvals.core.models import Channel, Place
from airflow_approvals.store import outbox as rows

T = TypeVar("T")

REQUEST = "request"
UPDATE = "update"
WHISPER = "whisper"
STORY = "story"
OUTCOME = "outcome"
#: What is posted into the conversation, where order matters.
POSTS = frozenset({REQUEST, STORY, *ENTRIES})


class Transactions(Protocol):
    """Runs a piece of work in a transaction of its own."""

    def __call__(self, work: Callable[[Session], T], /) -> T:
        """Return what the work returned, committed."""


class Append(Protocol):
    """Appends to the ledger, as :func:`airflow_approvals.store.ledger.append` does."""

    def __call__(
        self,
        session: Session,
        kind: str,
        *,
        at: datetime,
        actor: str | None = None,
        channel: Channel | None = None,
        request_id: str | None = None,
        place: Place | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> int:
        """Return the number of the new entry."""


@dataclass(frozen=True)
class OutboxDeps:
    """What delivering rests on. ``clock`` gives the present, aware; ``nudge`` (request, kind, group)
    words a reminder, and ``given_up`` (request) lets Airflow's page say that a message was given up,
    both while no transaction is open.
    """

    run: Transactions
    append: Append
    facts: Callable[[Session, str], RequestFacts]
    nudge: Callable[[str, str, str], Nudge | None]
    given_up: Callable[[str], object]
    courier: Courier
    clock: Callable[[], datetime]


@dataclass(frozen=True)
class Job:
    """A claimed row, and what was known when it was claimed.

    ``row_ids`` are all rows that sending it once settles. ``ref`` is the message that stands;
    ``lost_since`` is set when an earlier post may have arrived unrecorded, ``lost_in`` says where.
    """

    row_ids: tuple[int, ...]
    kind: str
    request_id: str
    recipient: str
    text: str
    attempts: int
    lane: rows.Lane
    ref: str | None = None
    lost_since: datetime | None = None
    lost_in: str = ""

    @property
    def may_stand(self) -> bool:
        """Whether an earlier attempt may have arrived unrecorded."""
        return self.attempts > 1

    @property
    def key(self) -> str:
        """By which what was said is found again."""
        return str(self.row_ids[0])


@dataclass(frozen=True)
class Sent:
    """What came of sending a job: the reference of a new message, and what was shown or said."""

    ref: str | None = None
    facts: RequestFacts | None = None
    nudge: Nudge | None = None
    dropped: bool = False


def send(deps: OutboxDeps, job: Job) -> Sent:
    """Send one job.

    :raises RetryLaterError: when the vendor asks to wait; nothing was sent then.
    :raises ChannelError: when it was refused, or nobody knows whether it arrived.
    """
    if job.kind in ENTRIES:
        return _nudge(deps, job)
    if job.kind in (REQUEST, UPDATE):
        return _show(deps, job)
    if job.kind == STORY:
        _say(deps, job, job.text)
    elif job.kind == OUTCOME:
        deps.courier.tell(job.recipient, job.text, _facts(deps, job))
    else:
        deps.courier.whisper(job.recipient, job.text, ref=job.ref)
    return Sent()


def _facts(deps: OutboxDeps, job: Job) -> RequestFacts:
    return deps.run(lambda session: deps.facts(session, job.request_id))


def _show(deps: OutboxDeps, job: Job) -> Sent:
    facts = _facts(deps, job)
    if job.ref is not None:
        deps.courier.update(job.ref, facts)
        return Sent(facts=facts)
    if job.lost_since is not None and (
        lost := deps.courier.find(job.request_id, since=job.lost_since, place=job.lost_in)
    ):
        # What it shows may be out of date.
        deps.courier.update(lost, facts)
        return Sent(lost, facts)
    return Sent(_post(deps, job, facts), facts)


def _nudge(deps: OutboxDeps, job: Job) -> Sent:
    nudge = deps.nudge(job.request_id, job.kind, job.recipient)
    if nudge is None:
        return Sent(dropped=True)
    _say(deps, job, nudge.text, nudge.accounts(deps.courier.medium))
    return Sent(nudge=nudge)


def _say(deps: OutboxDeps, job: Job, text: str, mentions: Sequence[str] = ()) -> None:
    """Say it in the thread, unless an earlier attempt has."""
    assert job.ref is not None  # noqa: S101 - what is said in a thread has one; for the type checker
    if not (job.may_stand and deps.courier.has_reply(job.ref, job.key)):
        deps.courier.reply(job.ref, text, mentions, key=job.key)


def _post(deps: OutboxDeps, job: Job, facts: RequestFacts) -> str:
    try:
        return deps.courier.post(facts)
    except RetryLaterError:
        # An earlier post may still have arrived: then the reservation stays, and is looked for.
        if job.lost_since is None:
            deps.run(lambda session: rows.release(session, job.request_id, channel=deps.courier.medium))
        raise
