"""Sending what is queued, in order, once, however often a process dies in between.

The message of a request is posted at most once: its delivery is reserved (UNIQUE) before the
post, and after a crash between post and record the channel's history is searched before
anything is posted again. Updates and private words may be repeated; they do no harm twice.

What a message shows is read after the row is claimed, and compared with the database again
after it was sent: of two late senders the last one finds the difference and queues an update.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from sqlalchemy.orm import Session

from airflow_approvals.channels.facts import RequestFacts
from airflow_approvals.channels.failures import DeliveryRefusedError, RetryLaterError
from airflow_approvals.channels.slack import SlackChannel
from airflow_approvals.config.settings import Settings, read_secret
from airflow_approvals.core.models import Channel, Place
from airflow_approvals.errors import ApprovalsError
from airflow_approvals.store import outbox as rows

log = logging.getLogger(__name__)

T = TypeVar("T")

REQUEST = "request"
UPDATE = "update"
WHISPER = "whisper"

BATCH = 20
#: About an hour with the waits below; requests to wait do not count.
MAX_ATTEMPTS = 20
MAX_WAIT = timedelta(minutes=5)
#: Longer than sending one row can take, with a search of the channel's history before it.
CLAIM = timedelta(seconds=90)
#: How far before a reservation a lost post is looked for: clocks differ.
CLOCK_DIFFERENCE = timedelta(minutes=5)
_SOON = timedelta(seconds=2)
_SLACK = Channel.SLACK.value


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
    """What delivering rests on. ``clock`` gives the present, aware."""

    run: Transactions
    append: Append
    facts: Callable[[Session, str], RequestFacts]
    slack: SlackChannel
    clock: Callable[[], datetime]


@dataclass(frozen=True)
class _Job:
    """A claimed row, and what was known when it was claimed.

    ``row_ids`` are all rows that sending it once settles. ``ref`` is the message that stands;
    ``lost_since`` is set when an earlier post may have arrived unrecorded.
    """

    row_ids: tuple[int, ...]
    kind: str
    request_id: str
    recipient: str
    text: str
    attempts: int
    ref: str | None = None
    lost_since: datetime | None = None


def slack_configured(settings: Settings) -> bool:
    """Whether requests are announced in Slack: token, signing secret and channel are all named."""
    return not missing_slack_options(settings)


def missing_slack_options(settings: Settings) -> tuple[str, ...]:
    """Return the options that are missing for Slack; all three when Slack is not wanted."""
    named = {
        "slack_bot_token_file": settings.slack_bot_token_file,
        "slack_signing_secret_file": settings.slack_signing_secret_file,
        "slack_channel": settings.slack_channel,
    }
    return tuple(name for name, value in named.items() if not value)


def slack_channel(settings: Settings) -> SlackChannel | None:
    """Return the configured channel, or ``None`` without one.

    :raises ConfigurationError: when the token file cannot be read or an option has no valid form.
    """
    if settings.slack_bot_token_file is None or settings.slack_channel is None:
        return None
    token = read_secret(settings.slack_bot_token_file, "slack_bot_token_file")
    return SlackChannel(token, settings.slack_channel, settings.slack_api_url)


def enqueue(
    session: Session, request_id: str, kind: str, *, recipient: str = "", text: str = "", now: datetime
) -> None:
    """Queue a message for Slack, in the transaction of what it tells.

    The caller asks :func:`slack_configured` first.

    :param kind: ``request``, ``update`` or ``whisper``.
    :param recipient: for a whisper, the Slack user.
    :param text: for a whisper, what to say.
    """
    rows.add(session, request_id, kind, channel=_SLACK, recipient=recipient, text=text, now=now)


def deliver_due(deps: OutboxDeps) -> int:
    """Send what is due, oldest first; return how many rows that settled.

    When Slack asks to wait, the whole channel waits: what comes later would only be refused too,
    and order would be lost.
    """
    settled = 0
    due = deps.run(lambda s: rows.due(s, channel=_SLACK, now=deps.clock(), limit=BATCH))
    for row_id in due:
        job = _run(deps, _claim, row_id)
        if job is None:
            continue
        try:
            settled += _deliver(deps, job)
        except RetryLaterError as busy:
            _run(deps, _hold, job, busy.seconds)
            break
    return settled


def _run(deps: OutboxDeps, work: Callable[..., T], *arguments: Any) -> T:
    return deps.run(lambda session: work(deps, session, *arguments))


def _claim(deps: OutboxDeps, session: Session, row_id: int) -> _Job | None:
    now = deps.clock()
    row = rows.claim(session, row_id, now=now, until=now + CLAIM)
    if row is None:
        return None
    job = _Job((row.id,), row.kind, row.request_id, row.recipient, row.text, row.attempts)
    if row.kind == REQUEST:
        return _reserve(deps, session, job, now)
    if row.kind == UPDATE:
        return _gather(session, job, now)
    delivery = rows.delivery_of(session, row.request_id, channel=_SLACK)
    return replace(job, ref=delivery.message or None) if delivery else job


def _reserve(deps: OutboxDeps, session: Session, job: _Job, now: datetime) -> _Job | None:
    """Reserve the post, or find out what has become of an earlier one."""
    delivery = rows.delivery_of(session, job.request_id, channel=_SLACK)
    if delivery is None:
        rows.reserve(session, job.request_id, channel=_SLACK, recipient=deps.slack.channel, now=now)
        return job
    if delivery.message:
        rows.finish(session, job.row_ids, rows.SENT)
        return None
    return replace(job, lost_since=delivery.delivered_at - CLOCK_DIFFERENCE)


def _gather(session: Session, job: _Job, now: datetime) -> _Job | None:
    """Take all open updates of the request together; one update shows what all of them would."""
    delivery = rows.delivery_of(session, job.request_id, channel=_SLACK)
    if delivery is not None and delivery.message:
        together = rows.open_rows(session, job.request_id, UPDATE, channel=_SLACK)
        row_ids = tuple(row.id for row in together)
        rows.postpone(session, row_ids, until=now + CLAIM)
        return replace(job, ref=delivery.message, row_ids=row_ids)
    if rows.open_rows(session, job.request_id, REQUEST, channel=_SLACK):
        # The message is still to come. It may be posting right now, with facts from before.
        rows.uncount_attempt(session, job.row_ids[0])
        rows.postpone(session, job.row_ids, until=now + _SOON)
    else:
        rows.finish(session, job.row_ids, rows.SENT)
    return None


def _deliver(deps: OutboxDeps, job: _Job) -> int:
    """Send one job and write down what came of it; only a request to wait gets out."""
    try:
        ref, facts = _send(deps, job)
    except RetryLaterError:
        raise
    except DeliveryRefusedError as error:
        _run(deps, _give_up, job, error.message)
    except ApprovalsError as error:
        _run(deps, _try_again, job, str(error))
    except Exception as error:
        log.exception("approvals outbox: could not send %s of request %s", job.kind, job.request_id)
        _run(deps, _try_again, job, type(error).__name__)
    else:
        _run(deps, _settle, job, ref, facts)
        return len(job.row_ids)
    return 0


def _send(deps: OutboxDeps, job: _Job) -> tuple[str | None, RequestFacts | None]:
    if job.kind == WHISPER:
        channel = job.ref.split(":")[0] if job.ref else None
        deps.slack.whisper(job.recipient, job.text, channel=channel)
        return None, None
    facts = deps.run(lambda session: deps.facts(session, job.request_id))
    if job.ref is not None:
        deps.slack.update(job.ref, facts)
        return None, facts
    if job.lost_since is not None and (lost := deps.slack.find(job.request_id, since=job.lost_since)):
        # What it shows may be out of date.
        deps.slack.update(lost, facts)
        return lost, facts
    return _post(deps, job, facts), facts


def _post(deps: OutboxDeps, job: _Job, facts: RequestFacts) -> str:
    try:
        return deps.slack.post(facts)
    except RetryLaterError:
        deps.run(lambda session: rows.release(session, job.request_id, channel=_SLACK))
        raise


def _settle(
    deps: OutboxDeps, session: Session, job: _Job, ref: str | None, shown: RequestFacts | None
) -> None:
    now = deps.clock()
    if ref is not None:
        rows.record(session, job.request_id, ref, channel=_SLACK, now=now)
    rows.finish(session, job.row_ids, rows.SENT)
    if shown is None:
        return
    stands = deps.facts(session, job.request_id)
    queued = rows.open_rows(session, job.request_id, UPDATE, channel=_SLACK)
    if _standing(stands) != _standing(shown) and not queued:
        enqueue(session, job.request_id, UPDATE, now=now)


def _standing(facts: RequestFacts) -> tuple[object, ...]:
    return facts.state, facts.votes, facts.decided_because


def _try_again(deps: OutboxDeps, session: Session, job: _Job, error: str) -> None:
    if job.attempts >= MAX_ATTEMPTS:
        _give_up(deps, session, job, error)
        return
    wait = min(timedelta(seconds=2**job.attempts), MAX_WAIT)
    rows.postpone(session, job.row_ids, until=deps.clock() + wait, error=error)


def _give_up(deps: OutboxDeps, session: Session, job: _Job, error: str) -> None:
    """The decision does not depend on it: people can still answer in Airflow."""
    log.warning("approvals outbox: gave up on %s of request %s: %s", job.kind, job.request_id, error)
    rows.finish(session, job.row_ids, rows.FAILED, error=error)
    deps.append(
        session,
        "delivery_failed",
        at=deps.clock(),
        channel=Channel.SLACK,
        request_id=job.request_id,
        details={"kind": job.kind, "error": error, "attempts": job.attempts},
    )


def _hold(deps: OutboxDeps, session: Session, job: _Job, seconds: float) -> None:
    until = deps.clock() + timedelta(seconds=seconds)
    rows.uncount_attempt(session, job.row_ids[0])
    rows.postpone(session, job.row_ids, until=until, error="Slack asked to wait.")
    rows.hold(session, channel=_SLACK, until=until)
