"""The custodian's process: it announces what it serves, and does one job after the other.

Several may run. A job is held by one at a time, with a lease that a thread renews; whoever dies
lets go of it by that, and so does a copy that hangs once its grant has run out. Several custodians
of the same sink share connections file and keys.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property, partial

from sqlalchemy.orm import Session

from airflow_approvals.config.settings import Settings
from airflow_approvals.control import faults, lease
from airflow_approvals.control.signing import SigningKey
from airflow_approvals.custody import connections, jobs, releasing, verifying
from airflow_approvals.custody.jobs import Job
from airflow_approvals.custody.sources import Sources
from airflow_approvals.detection.engine import Engine
from airflow_approvals.detection.profiles import CLASSIFICATION
from airflow_approvals.errors import ApprovalsError, ConfigurationError, UnavailableError
from airflow_approvals.store import custody
from airflow_approvals.store.custody import JobKind
from airflow_approvals.store.session import run_read, run_transaction

log = logging.getLogger(__name__)

#: How often a sign of life is given: far more often than a lease or an announcement lapses.
HEARTBEAT_SECONDS = 15.0
INTERVAL_SECONDS = 1.0
BATCH = 100


class Custodian:
    """Verifies and releases. Its credentials are in this process's environment and nowhere else.

    :raises ConfigurationError: when a key or the connections file is missing or readable by
        others, or nothing says where it may read.
    """

    def __init__(self, settings: Settings) -> None:
        self._key = _key(settings)
        self._sources = Sources.of(settings)
        self._served = connections.open_connections(settings)
        self._holder = lease.new_holder()
        self._stop = threading.Event()

    @property
    def serves(self) -> frozenset[str]:
        """The ids of the connections that are served."""
        return frozenset(self._served)

    def request_stop(self) -> None:
        """Let the loop end after the current job; safe in a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Do what is due until stopped; a round that fails is logged and followed by the next."""
        self._announce_or_report()
        beat = threading.Thread(target=self._beat, name="approvals-custodian", daemon=True)
        beat.start()
        while not self._stop.is_set():
            try:
                self._round()
            except Exception as error:
                faults.report("finish a custodian round", error)
            self._stop.wait(INTERVAL_SECONDS)
        beat.join(timeout=10)

    def run_once(self) -> int:
        """Announce what is served and do what is due; return how many jobs were worked on."""
        beat = threading.Thread(target=self._beat, name="approvals-custodian", daemon=True)
        self.announce()
        beat.start()
        try:
            return self._round()
        finally:
            self._stop.set()
            beat.join(timeout=10)

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            self._announce_or_report()

    def _announce_or_report(self) -> None:
        try:
            self.announce()
        except Exception as error:
            faults.report("announce the custodian", error)

    def announce(self) -> None:
        """Say what is served, and that this process is alive and at work on what it holds."""
        now = datetime.now(UTC)

        def work(session: Session) -> None:
            custody.announce(session, self._served, self._holder, now=now)
            custody.hold_on(session, self._holder, now=now, until=now + jobs.LEASE)

        run_transaction(work)

    def _round(self) -> int:
        releasing.clear_up()
        due = run_read(lambda s: jobs.due(s, self._served, now=datetime.now(UTC), limit=BATCH))
        return sum(self._take_and_do(job_id) for job_id in due if not self._stop.is_set())

    def _take_and_do(self, job_id: int) -> int:
        take = partial(
            jobs.take, job_id=job_id, holder=self._holder, served=self._served, now=datetime.now(UTC)
        )
        job = run_transaction(take)
        if job is None:
            return 0
        self._do(job, self._work_of(job))
        return 1

    def _work_of(self, job: Job) -> Callable[[], None]:
        if job.kind is JobKind.VERIFY:
            return lambda: verifying.verify(job, self._engine, self._key, self._sources)
        return lambda: releasing.release(job, self._key, self._sources)

    def _do(self, job: Job, work: Callable[[], None]) -> None:
        try:
            work()
        except ApprovalsError as error:
            log.warning("approvals custodian: %s of %s: %s", job.kind, job.request_id, error)
            self._later(job, type(error).__name__, counts=not isinstance(error, UnavailableError))
        except Exception as error:
            faults.report(f"{job.kind} request {job.request_id}", error)
            self._later(job, type(error).__name__)

    def _later(self, job: Job, error: str, *, counts: bool = True) -> None:
        postpone = partial(custody.postpone, until=datetime.now(UTC) + job.wait, error=error, counts=counts)
        run_transaction(partial(postpone, job_id=job.id, holder=job.holder))

    @cached_property
    def _engine(self) -> Engine:
        """What scans; made when first needed: its model takes seconds to load."""
        from airflow.configuration import conf

        model = (conf.get("approvals", "model", fallback="") or "").strip() or None
        return Engine(profile=CLASSIFICATION, model=model)


def _key(settings: Settings) -> SigningKey:
    if settings.custodian_key_file is None:
        raise ConfigurationError(
            "[approvals] custodian_key_file is not set, so the custodian could sign nothing.",
            "Generate a key with `airflow approvals keys generate FILE` and name the file there.",
        )
    return SigningKey.load(settings.custodian_key_file)
