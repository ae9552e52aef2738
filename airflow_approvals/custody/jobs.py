"""A claimed job, as the work on it needs it; read once, so that no session stays open meanwhile."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control.pins import Pins
from airflow_approvals.core.ask import Ask
from airflow_approvals.store import custody
from airflow_approvals.store.custody import JobKind
from airflow_approvals.store.release_tables import CustodyRow
from airflow_approvals.store.tables import GrantRow, RequestRow

#: How long a job is held without a sign of life before another custodian takes over.
LEASE = timedelta(seconds=60)
#: After so many attempts that the data or the sink made fail, a job is given up.
MAX_ATTEMPTS = 10
MAX_WAIT = timedelta(minutes=5)


@dataclass(frozen=True)
class Job:
    """A job that this process holds. ``grant`` is empty for a verification."""

    id: int
    kind: JobKind
    holder: str
    attempts: int
    publishing: bool
    intent: str | None
    result: str | None
    request_id: str
    ask: Ask
    sink: str
    connection: str
    uri_prefix: str
    grant: str

    @property
    def is_last_attempt(self) -> bool:
        """Whether a failure of the data or the sink ends it."""
        return self.attempts >= MAX_ATTEMPTS

    @property
    def wait(self) -> timedelta:
        """How long to wait before the next attempt."""
        return min(timedelta(seconds=2 ** min(self.attempts, 10)), MAX_WAIT)


def due(session: Session, served: Collection[str], *, now: datetime, limit: int) -> list[int]:
    """Return the ids of jobs that are due here, releases first, oldest first.

    What only another custodian serves is left out, or enough of it would hold up all others.
    """
    found: list[int] = []
    for job_id, kind, pinned in custody.due_jobs(session, now=now):
        if kind == JobKind.VERIFY or Pins.from_text(pinned).connection in served:
            found.append(job_id)
        if len(found) == limit:
            break
    return found


def take(session: Session, job_id: int, holder: str, served: Collection[str], *, now: datetime) -> Job | None:
    """Claim a job, unless somebody has it or its sink is another custodian's."""
    waiting = session.get(CustodyRow, job_id)
    if waiting is None:
        return None
    request = session.get_one(RequestRow, waiting.request_id)
    pins = Pins.from_text(request.pinned)
    if waiting.kind == JobKind.RELEASE and pins.connection not in served:
        return None
    row = custody.claim(session, job_id, holder, now=now, until=now + LEASE)
    return _job(session, row, request, pins) if row is not None else None


def _job(session: Session, row: CustodyRow, request: RequestRow, pins: Pins) -> Job:
    grant = session.scalar(select(GrantRow.id).where(GrantRow.request_id == request.id))
    return Job(
        id=row.id,
        kind=JobKind(row.kind),
        holder=row.holder or "",
        attempts=row.attempts,
        publishing=row.state == custody.JobState.PUBLISHING,
        intent=row.intent,
        result=row.result,
        request_id=request.id,
        ask=Ask.from_document(json.loads(request.ask)),
        sink=request.sink,
        connection=pins.connection,
        uri_prefix=pins.uri_prefix,
        grant=grant or "",
    )
