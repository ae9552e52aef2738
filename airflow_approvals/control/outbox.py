"""Sending what is queued, in order, once, however often a process dies in between.

The message of a request is posted at most once: its delivery is reserved (UNIQUE) before the
post, and after a crash between post and record the channel's history is searched before
anything is posted again. So is its thread, in which every word comes once and in order. Updates
and private words may be repeated; they do no harm twice.

When the vendor asks to wait, one lane waits: posts into one conversation, or calls of one kind
where the vendor counts those together. The others go on.

What a message shows is read after the row is claimed, and compared with the database again
after it was sent: of two late senders the last one finds the difference and queues an update.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from airflow_approvals.channels.facts import RequestFacts
from airflow_approvals.channels.failures import DeliveryRefusedError, RetryLaterError
from airflow_approvals.control import faults
from airflow_approvals.control.reminders import ENTRIES, Nudge
from airflow_approvals.control.sending import (
    OUTCOME,
    POSTS,
    REQUEST,
    STORY,
    UPDATE,
    WHISPER,
    Append,
    Job,
    OutboxDeps,
    Sent,
    T,
    Transactions,
    send,
)
from airflow_approvals.core.models import Channel
from airflow_approvals.errors import ApprovalsError
from airflow_approvals.store import outbox as rows
from airflow_approvals.store.tables import OutboxRow

__all__ = [
    "OUTCOME",
    "REQUEST",
    "STORY",
    "UPDATE",
    "WHISPER",
    "Append",
    "OutboxDeps",
    "Transactions",
    "deliver_due",
]

log = logging.getLogger(__name__)

BATCH = 20
#: About an hour with the waits below; requests to wait do not count.
MAX_ATTEMPTS = 20
MAX_WAIT = timedelta(minutes=5)
#: Longer than sending one row can take, with a search of the channel's history before it.
CLAIM = timedelta(seconds=90)
#: How far before a reservation a lost post is looked for: clocks differ.
CLOCK_DIFFERENCE = timedelta(minutes=5)
_SOON = timedelta(seconds=2)
_IN_A_WHILE = timedelta(seconds=10)


def deliver_due(deps: OutboxDeps) -> int:
    """Send what is due, oldest first; return how many rows that settled."""
    settled = 0
    due = deps.run(lambda s: rows.due(s, channel=deps.courier.medium, now=deps.clock(), limit=BATCH))
    for row_id in due:
        job = _run(deps, _claim, row_id)
        if job is None:
            continue
        try:
            settled += _deliver(deps, job)
        except RetryLaterError as busy:
            _run(deps, _hold, job, busy.seconds)
    return settled


def _run(deps: OutboxDeps, work: Callable[..., T], *arguments: Any) -> T:
    return deps.run(lambda session: work(deps, session, *arguments))


def _claim(deps: OutboxDeps, session: Session, row_id: int) -> Job | None:
    now = deps.clock()
    row = rows.claim(session, row_id, now=now, until=now + CLAIM)
    if row is None:
        return None
    lane = _lane(deps, session, row)
    if (until := rows.held_until(session, lane, besides=row.id, now=now)) is not None:
        _wait(session, row, until, rows.ASKED_TO_WAIT)
        return None
    job = Job((row.id,), row.kind, row.request_id, row.recipient, row.text, row.attempts, lane)
    if row.kind == REQUEST:
        return _reserve(deps, session, job, now)
    if row.kind == UPDATE:
        return _gather(deps, session, job, now)
    if row.kind in POSTS:
        return _in_thread(deps, session, row, job, now)
    delivery = rows.delivery_of(session, row.request_id, channel=deps.courier.medium)
    return replace(job, ref=delivery.message or None) if delivery else job


def _lane(deps: OutboxDeps, session: Session, row: OutboxRow) -> rows.Lane:
    """Return what the vendor limits together with a row: posts by conversation, other calls by kind."""
    medium = deps.courier.medium
    if row.kind == OUTCOME:
        return rows.Lane(medium, frozenset({OUTCOME}), recipient=row.recipient)
    if row.kind not in POSTS:
        return rows.Lane(medium, frozenset({row.kind}))
    delivery = rows.delivery_of(session, row.request_id, channel=medium)
    place = delivery.recipient if delivery is not None else deps.courier.recipient
    return rows.Lane(medium, POSTS, conversation=place, with_unposted=place == deps.courier.recipient)


def _wait(session: Session, row: OutboxRow, until: datetime, why: str | None = None) -> None:
    rows.uncount_attempt(session, row.id)
    rows.postpone(session, [row.id], until=until, error=why)


def _reserve(deps: OutboxDeps, session: Session, job: Job, now: datetime) -> Job | None:
    """Reserve the post, or find out what has become of an earlier one."""
    delivery = rows.delivery_of(session, job.request_id, channel=deps.courier.medium)
    if delivery is None:
        rows.reserve(
            session, job.request_id, channel=deps.courier.medium, recipient=deps.courier.recipient, now=now
        )
        return job
    if delivery.message:
        rows.finish(session, job.row_ids, rows.SENT)
        return None
    return replace(job, lost_since=delivery.delivered_at - CLOCK_DIFFERENCE, lost_in=delivery.recipient)


def _gather(deps: OutboxDeps, session: Session, job: Job, now: datetime) -> Job | None:
    """Take all open updates of the request together; one update shows what all of them would."""
    delivery = rows.delivery_of(session, job.request_id, channel=deps.courier.medium)
    if delivery is not None and delivery.message:
        together = rows.open_rows(session, job.request_id, UPDATE, channel=deps.courier.medium)
        row_ids = tuple(row.id for row in together)
        rows.postpone(session, row_ids, until=now + CLAIM)
        return replace(job, ref=delivery.message, row_ids=row_ids)
    _await_message(deps, session, job, rows.SENT, now)
    return None


def _in_thread(deps: OutboxDeps, session: Session, row: OutboxRow, job: Job, now: datetime) -> Job | None:
    delivery = rows.delivery_of(session, job.request_id, channel=deps.courier.medium)
    if delivery is None or not delivery.message:
        _await_message(deps, session, job, rows.DROPPED, now)
        return None
    if (until := rows.ahead(session, row, at_once=STORY, planned=tuple(ENTRIES))) is not None:
        # Not until then: one that is being sent right now only falls due when its sender has died.
        _wait(session, row, min(max(until, now + _SOON), now + _IN_A_WHILE))
        return None
    return replace(job, ref=delivery.message)


def _await_message(deps: OutboxDeps, session: Session, job: Job, otherwise: str, now: datetime) -> None:
    if rows.open_rows(session, job.request_id, REQUEST, channel=deps.courier.medium):
        # The message is still to come. It may be posting right now, with facts from before.
        rows.uncount_attempt(session, job.row_ids[0])
        rows.postpone(session, job.row_ids, until=now + _SOON)
    else:
        rows.finish(session, job.row_ids, otherwise)


def _deliver(deps: OutboxDeps, job: Job) -> int:
    """Send one job and write down what came of it; only a request to wait gets out."""
    try:
        sent = send(deps, job)
    except RetryLaterError:
        raise
    except DeliveryRefusedError as error:
        _fail(deps, job, error.message, for_good=True)
    except ApprovalsError as error:
        _fail(deps, job, str(error))
    except Exception as error:
        faults.report(f"send {job.kind} of request {job.request_id}", error)
        _fail(deps, job, type(error).__name__)
    else:
        _run(deps, _settle, job, sent)
        return len(job.row_ids)
    return 0


def _settle(deps: OutboxDeps, session: Session, job: Job, sent: Sent) -> None:
    now = deps.clock()
    if sent.ref is not None:
        rows.record(session, job.request_id, sent.ref, channel=deps.courier.medium, now=now)
    rows.finish(session, job.row_ids, rows.DROPPED if sent.dropped else rows.SENT)
    if sent.nudge is not None:
        _enter_nudge(deps, session, job, sent.nudge)
    if sent.facts is None:
        return
    stands = deps.facts(session, job.request_id)
    # One that is claimed may have been overwritten by this one: only what is still to start counts.
    opened = rows.open_rows(session, job.request_id, UPDATE, channel=deps.courier.medium)
    if _standing(stands) != _standing(sent.facts) and not any(row.due_at <= now for row in opened):
        rows.add(session, job.request_id, UPDATE, channel=deps.courier.medium, now=now)


def _enter_nudge(deps: OutboxDeps, session: Session, job: Job, nudge: Nudge) -> None:
    deps.append(
        session,
        ENTRIES[job.kind],
        at=deps.clock(),
        channel=_channel(deps),
        request_id=job.request_id,
        details={"people": list(nudge.people), "group": job.recipient, "medium": deps.courier.medium},
    )


def _channel(deps: OutboxDeps) -> Channel | None:
    """Return the channel that the medium is; one where nobody votes is none."""
    medium = deps.courier.medium
    return Channel(medium) if medium in set(Channel) else None


def _standing(facts: RequestFacts) -> tuple[object, ...]:
    return facts.state, facts.votes, facts.decided_because


def _fail(deps: OutboxDeps, job: Job, error: str, *, for_good: bool = False) -> None:
    """Write a failure down; once a message is given up, Airflow's page says so."""
    if not (for_good or job.attempts >= MAX_ATTEMPTS):
        _run(deps, _try_again, job, error)
        return
    _run(deps, _give_up, job, error)
    try:
        deps.given_up(job.request_id)
    except Exception as fault:
        # It holds up no other message; the page says it the next time that it is rendered.
        faults.report(f"show what was not delivered of request {job.request_id}", fault)


def _try_again(deps: OutboxDeps, session: Session, job: Job, error: str) -> None:
    wait = min(timedelta(seconds=2**job.attempts), MAX_WAIT)
    rows.postpone(session, job.row_ids, until=deps.clock() + wait, error=error)


def _give_up(deps: OutboxDeps, session: Session, job: Job, error: str) -> None:
    """The decision does not depend on it: people can still answer in Airflow."""
    log.warning("approvals outbox: gave up on %s of request %s: %s", job.kind, job.request_id, error)
    rows.finish(session, job.row_ids, rows.FAILED, error=error)
    deps.append(
        session,
        "delivery_failed",
        at=deps.clock(),
        channel=_channel(deps),
        request_id=job.request_id,
        details={
            "medium": deps.courier.medium,
            "kind": job.kind,
            "error": error,
            "attempts": job.attempts,
        },
    )


def _hold(deps: OutboxDeps, session: Session, job: Job, seconds: float) -> None:
    until = deps.clock() + timedelta(seconds=seconds)
    rows.uncount_attempt(session, job.row_ids[0])
    rows.postpone(session, job.row_ids, until=until, error=rows.ASKED_TO_WAIT)
    rows.hold(session, job.lane, until=until)
