"""The dispatcher: everything that happens without anybody calling.

It registers, announces, expires, ends grants and delivers messages; its work is proportional
to what is new or due. It starts with the API server's app under a lease, or on its own as
``airflow approvals dispatcher``; several may run, one works.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from airflow_approvals.chat import messages
from airflow_approvals.config.settings import Settings
from airflow_approvals.control import (
    faults,
    grants,
    intake,
    lease,
    metrics,
    policy_drift,
    registration,
    releases,
    settlement,
    watch,
)
from airflow_approvals.core.models import RequestState
from airflow_approvals.errors import ConfigurationError, PolicyError, UnavailableError
from airflow_approvals.seams import airflow_seams
from airflow_approvals.store.session import run_read, run_transaction
from airflow_approvals.store.tables import GrantRow, RequestRow

#: How often pending requests are looked through for gates that have gone without a word.
STRAY_INTERVAL_SECONDS = 30.0
METRICS_INTERVAL_SECONDS = 10.0
BATCH = 100
#: How long an intake rests whose backend did not answer.
PAUSE = timedelta(seconds=10)


def run_round(*, strays: bool = False) -> int:
    """Do what is new or due, once; return how many things that was.

    :param strays: also look through all pending requests for gates that stopped waiting.
    """
    now = datetime.now(UTC)
    done = 0
    due = run_read(partial(_due_requests, now=now))
    for request_id in (*due, *(run_read(watch.stray_requests) if strays else ())):
        done += _each("close a request", partial(_close, request_id=request_id, now=now))
    for grant_id in run_read(partial(_changed_grants, now=now)):
        done += _each("bring a grant up to date", partial(_refresh, grant_id=grant_id, now=now))
    for job_id in run_read(partial(releases.overdue, now=now, limit=BATCH)):
        done += _each("give up a release", partial(releases.give_up, job_id=job_id, now=now))
    # Last, as asking for Connections, groups and authors of code may take long.
    return done + sum(_register(row_id) for row_id in run_read(_new_intakes))


#: When an intake is looked at again whose backend did not answer, by its id.
_AGAIN_AT: dict[int, datetime] = {}


def _new_intakes(session: Session) -> list[int]:
    now = datetime.now(UTC)
    for intake_id in [one for one, at in _AGAIN_AT.items() if at <= now]:
        del _AGAIN_AT[intake_id]
    return intake.waiting(session, now=now, limit=BATCH, but_for=frozenset(_AGAIN_AT))


def _register(intake_id: int) -> int:
    """Register one intake; what can never succeed is put aside, so that it holds up no other."""
    try:
        return 1 if registration.register_now(intake_id) else 0
    except UnavailableError as error:
        faults.report("register a request, and tries again later", error)
        # Enough of them, each waited for anew in every round, would hold up all others.
        _AGAIN_AT[intake_id] = datetime.now(UTC) + PAUSE
        if _each("see how long an intake waits", partial(_is_overdue, intake_id=intake_id)):
            _put_aside(intake_id, error)
    except (DBAPIError, PoolTimeoutError, ConfigurationError, PolicyError) as error:
        faults.report("register a request, and tries again", error)
    except Exception as error:
        faults.report("register a request, and gives up", error)
        _put_aside(intake_id, error)
    return 0


def _is_overdue(session: Session, *, intake_id: int) -> bool:
    return intake.is_overdue(session, intake_id, now=datetime.now(UTC))


def _put_aside(intake_id: int, error: Exception) -> None:
    why = type(error).__name__
    _each("put an intake aside", partial(registration.give_up, intake_id=intake_id, why=why))


def _each(what: str, work: Callable[[Session], object]) -> int:
    """Do one piece in its own transaction; a piece that fails does not hold up the others."""
    try:
        return 1 if run_transaction(work) else 0
    except Exception as error:
        faults.report(what, error)
        return 0


def _due_requests(session: Session, *, now: datetime) -> list[str]:
    pending = select(RequestRow.id).where(RequestRow.state == RequestState.PENDING)
    due = pending.where(RequestRow.expires_at <= now).order_by(RequestRow.expires_at)
    return list(session.scalars(due.limit(BATCH)))


def _changed_grants(session: Session, *, now: datetime) -> list[str]:
    """Return bound grants whose task has been seen through, and grants that ran out."""
    run_out = select(GrantRow.id).where(GrantRow.state.in_(grants.USABLE), GrantRow.not_after <= now)
    return [*watch.grants_seen_through(session, BATCH), *session.scalars(run_out.limit(BATCH))]


def _close(session: Session, *, request_id: str, now: datetime) -> bool:
    request = session.get_one(RequestRow, request_id)
    parked = airflow_seams.lock_gate(session, request.place)
    session.refresh(request, with_for_update=True)
    grants.lock_run(session, request.place)
    return settlement.close_if_due(session, parked, request, now=now)


def _refresh(session: Session, *, grant_id: str, now: datetime) -> bool:
    grant = session.get_one(GrantRow, grant_id, with_for_update=True)
    before = grant.state
    grants.refresh(session, grant, None, None, now=now)
    return grant.state != before


class Dispatcher:
    """Runs rounds in a thread while it holds the lease.

    :param settings: ``dispatcher_interval_seconds`` is the rest between two rounds.
    """

    def __init__(self, settings: Settings) -> None:
        self._interval = settings.dispatcher_interval_seconds
        self._holder = lease.new_holder()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._holds_lease = threading.Event()
        self._strays_at = 0.0
        self._metrics_at = 0.0

    def start(self) -> None:
        """Start the threads."""
        for target in (self.run, self._deliver):
            thread = threading.Thread(target=target, name=f"approvals-{target.__name__}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def request_stop(self) -> None:
        """Let the loop end after the current round; safe in a signal handler."""
        self._stop.set()

    def wait(self) -> None:
        """Wait until somebody asks to stop, and then for the current round."""
        self._stop.wait()
        self.stop()

    def stop(self) -> None:
        """Stop after the current round, and let go of the lease."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=10)

    def run(self) -> None:
        """Run rounds until stopped; a round that fails is logged and followed by the next."""
        while not self._stop.is_set():
            try:
                self._round()
            except Exception as error:
                faults.report("finish a dispatcher round", error)
            self._stop.wait(self._interval)
        self._let_go()

    def _deliver(self) -> None:
        """Work on clicks and messages while the lease is held: a slow vendor delays nothing else."""
        while not self._stop.is_set():
            if self._holds_lease.is_set():
                try:
                    messages.process_and_deliver()
                except Exception as error:
                    faults.report("deliver messages", error)
            self._stop.wait(self._interval)

    def _round(self) -> None:
        held = run_transaction(
            lambda s: lease.acquire(s, lease.DISPATCHER, self._holder, now=datetime.now(UTC))
        )
        if not held:
            self._holds_lease.clear()
            return
        self._holds_lease.set()
        started = time.monotonic()
        strays = started >= self._strays_at
        if strays:
            self._strays_at = started + STRAY_INTERVAL_SECONDS
            policy_drift.tell()
        run_round(strays=strays)
        if started >= self._metrics_at:
            self._metrics_at = started + METRICS_INTERVAL_SECONDS
            metrics.measure_round(timedelta(seconds=time.monotonic() - started))

    def _let_go(self) -> None:
        try:
            run_transaction(lambda s: lease.release(s, lease.DISPATCHER, self._holder, now=datetime.now(UTC)))
        except Exception as error:
            faults.report("let go of the dispatcher lease", error)
