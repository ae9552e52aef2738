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

from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.config.settings import Settings
from airflow_approvals.control import (
    airflow_seams,
    faults,
    grants,
    lease,
    messages,
    metrics,
    registration,
    settlement,
)
from airflow_approvals.core.models import GrantState, RequestState
from airflow_approvals.store.session import run_read, run_transaction
from airflow_approvals.store.tables import GrantRow, RequestRow

#: How often pending requests are looked through for gates that have gone without a word.
STRAY_INTERVAL_SECONDS = 30.0
METRICS_INTERVAL_SECONDS = 10.0
BATCH = 100


def run_round(*, strays: bool = False) -> int:
    """Do what is new or due, once; return how many things that was.

    :param strays: also look through all pending requests for gates that stopped waiting.
    """
    now = datetime.now(UTC)
    done = 0
    for intake_id in run_read(lambda s: [row.id for row in registration.new_intakes(s, limit=BATCH)]):
        done += _each("register", lambda s, i=intake_id: registration.register(s, i, now=now))  # type: ignore[misc]
    for request_id in run_read(lambda s: _due_requests(s, now=now, all_pending=strays)):
        done += _each("close", lambda s, r=request_id: _close(s, r, now=now))  # type: ignore[misc]
    for grant_id in run_read(lambda s: _open_grants(s, now=now)):
        done += _each("refresh", lambda s, g=grant_id: _refresh(s, g, now=now))  # type: ignore[misc]
    return done + messages.process_and_deliver()


def _each(what: str, work: Callable[[Session], object]) -> int:
    """Do one piece in its own transaction; a piece that fails does not hold up the others."""
    try:
        return 1 if run_transaction(work) else 0
    except Exception as error:
        faults.report(f"{what} (dispatcher)", error)
        return 0


def _due_requests(session: Session, *, now: datetime, all_pending: bool) -> list[str]:
    due = select(RequestRow.id).where(RequestRow.state == RequestState.PENDING)
    if not all_pending:
        due = due.where(RequestRow.expires_at <= now).limit(BATCH)
    return list(session.scalars(due.order_by(RequestRow.expires_at)))


def _close(session: Session, request_id: str, *, now: datetime) -> bool:
    request = session.get_one(RequestRow, request_id)
    parked = airflow_seams.lock_gate(session, request.place)
    session.refresh(request, with_for_update=True)
    return settlement.close_if_due(session, parked, request, now=now)


def _open_grants(session: Session, *, now: datetime) -> list[str]:
    """Bound grants may have been spent; live ones only run out."""
    bound = select(GrantRow.id).where(GrantRow.state == GrantState.BOUND)
    run_out = select(GrantRow.id).where(GrantRow.state == GrantState.LIVE, GrantRow.not_after <= now)
    return [*session.scalars(bound.limit(BATCH)), *session.scalars(run_out.limit(BATCH))]


def _refresh(session: Session, grant_id: str, *, now: datetime) -> bool:
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
        self._thread: threading.Thread | None = None
        self._strays_at = 0.0
        self._metrics_at = 0.0

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self.run, name="approvals-dispatcher", daemon=True)
        self._thread.start()

    def request_stop(self) -> None:
        """Let the loop end after the current round; safe in a signal handler."""
        self._stop.set()

    def stop(self) -> None:
        """Stop after the current round, and let go of the lease."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def run(self) -> None:
        """Run rounds until stopped; a round that fails is logged and followed by the next."""
        while not self._stop.is_set():
            try:
                self._round()
            except Exception as error:
                faults.report("finish a dispatcher round", error)
            self._stop.wait(self._interval)
        self._let_go()

    def _round(self) -> None:
        held = run_transaction(
            lambda s: lease.acquire(s, lease.DISPATCHER, self._holder, now=datetime.now(UTC))
        )
        if not held:
            return
        started = time.monotonic()
        strays = started >= self._strays_at
        if strays:
            self._strays_at = started + STRAY_INTERVAL_SECONDS
        run_round(strays=strays)
        if started >= self._metrics_at:
            self._metrics_at = started + METRICS_INTERVAL_SECONDS
            metrics.measure_round(timedelta(seconds=time.monotonic() - started))

    def _let_go(self) -> None:
        try:
            run_transaction(lambda s: lease.release(s, lease.DISPATCHER, self._holder, now=datetime.now(UTC)))
        except Exception as error:
            faults.report("let go of the dispatcher lease", error)
