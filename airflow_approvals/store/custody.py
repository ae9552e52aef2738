"""The custodian's jobs, and which connections a custodian serves.

A job is claimed by moving its ``due_at`` into the future, comparing the one that was seen; whoever
works on it moves it on. When the holder dies, the job falls due again by itself.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from airflow_approvals.core.models import RequestState
from airflow_approvals.store.release_tables import CustodianRow, CustodyRow
from airflow_approvals.store.tables import GrantRow, RequestRow

#: A custodian announces its connections far more often than this.
STALE_AFTER = timedelta(minutes=5)


class JobKind(enum.StrEnum):
    """What the custodian can be asked to do for a request."""

    VERIFY = "verify"
    RELEASE = "release"


class JobState(enum.StrEnum):
    """Where a job stands; see :class:`~airflow_approvals.store.release_tables.CustodyRow`."""

    DUE = "due"
    WORKING = "working"
    PUBLISHING = "publishing"
    DONE = "done"
    FAILED = "failed"


def enqueue(session: Session, request_id: str, kind: JobKind, *, now: datetime) -> None:
    """Ask the custodian for something, in the transaction of what asks for it; once per kind."""
    if job_of(session, request_id, kind) is None:
        row = CustodyRow(
            request_id=request_id, kind=kind, state=JobState.DUE, attempts=0, created_at=now, due_at=now
        )
        session.add(row)
        session.flush()


def job_of(session: Session, request_id: str, kind: JobKind) -> CustodyRow | None:
    """Return the job of that kind for a request."""
    return session.scalar(
        select(CustodyRow).where(CustodyRow.request_id == request_id, CustodyRow.kind == kind)
    )


def receipt_of(session: Session, request_id: str) -> Any:
    """Return the custodian's signed receipt (``{"jws", "key"}``), ``None`` when it has released nothing."""
    job = job_of(session, request_id, JobKind.RELEASE)
    return json.loads(job.result) if job is not None and job.state == JobState.DONE and job.result else None


def served_fingerprint(session: Session, connection: str, *, now: datetime) -> str:
    """Return the fingerprint of a connection that a running custodian serves; empty when none does."""
    row = session.get(CustodianRow, connection)
    return row.fingerprint if row is not None and now - row.announced_at < STALE_AFTER else ""


OPEN_STATES = (JobState.DUE, JobState.WORKING, JobState.PUBLISHING)


def due_jobs(session: Session, *, now: datetime) -> Iterator[tuple[int, str, str]]:
    """Yield the jobs that nobody works on and that may be worked on: id, kind, the request's pins.

    Releases come first, as their grants run out, and then the oldest.
    """
    found = (
        select(CustodyRow.id, CustodyRow.kind, RequestRow.pinned)
        .join(RequestRow, RequestRow.id == CustodyRow.request_id)
        .where(CustodyRow.state.in_(OPEN_STATES), CustodyRow.due_at <= now)
    )
    order = (CustodyRow.kind != JobKind.RELEASE, CustodyRow.due_at, CustodyRow.id)
    yield from ((row[0], row[1], row[2]) for row in session.execute(found.order_by(*order)))


def claim(session: Session, job_id: int, holder: str, *, now: datetime, until: datetime) -> CustodyRow | None:
    """Claim a job that is due; ``None`` when another custodian was first.

    A job whose copy may be visible already stays ``publishing``.
    """
    claimed = session.execute(
        update(CustodyRow)
        .where(CustodyRow.id == job_id, CustodyRow.state.in_(OPEN_STATES), CustodyRow.due_at <= now)
        .values(holder=holder, due_at=until, attempts=CustodyRow.attempts + 1)
        .returning(CustodyRow.id)
    )
    if claimed.first() is None:
        return None
    row = session.get_one(CustodyRow, job_id, populate_existing=True)
    if row.state != JobState.PUBLISHING:
        row.state = JobState.WORKING
    return row


def locked(session: Session, job_id: int) -> CustodyRow:
    """Return a job, freshly loaded and locked."""
    return session.get_one(CustodyRow, job_id, with_for_update=True, populate_existing=True)


def hold_on(session: Session, holder: str, *, now: datetime, until: datetime) -> None:
    """Keep what a holder works on from falling due.

    A copy whose grant has run out falls due all the same, and so does the verification for a request
    that is closed: nothing may come of it any more, and the work that hangs would otherwise keep the
    gate parked as long as its process lives. What is being published is finished, however late.
    """
    run_out = select(GrantRow.request_id).where(GrantRow.not_after <= now)
    closed = select(RequestRow.id).where(RequestRow.state != RequestState.PENDING)
    lost = ((CustodyRow.kind == JobKind.RELEASE) & CustodyRow.request_id.in_(run_out)) | (
        (CustodyRow.kind == JobKind.VERIFY) & CustodyRow.request_id.in_(closed)
    )
    renewed = (CustodyRow.state == JobState.PUBLISHING) | ((CustodyRow.state == JobState.WORKING) & ~lost)
    session.execute(
        update(CustodyRow)
        .where(CustodyRow.holder == holder, renewed)
        .values(due_at=until)
        .execution_options(synchronize_session=False)
    )


def postpone(
    session: Session, job_id: int, holder: str, *, until: datetime, error: str, counts: bool = True
) -> None:
    """Let a job that could not be done fall due later, unless another holder has it by now.

    :param counts: whether it was an attempt that the data or the sink made fail.
    """
    row = locked(session, job_id)
    if row.holder == holder and row.state in OPEN_STATES:
        row.holder, row.due_at, row.error = None, until, error
        row.attempts -= 0 if counts else 1


def announce(session: Session, served: Mapping[str, str], holder: str, *, now: datetime) -> None:
    """Say which connections are served, each with its keyed fingerprint."""
    for connection, fingerprint in sorted(served.items()):
        row = session.get(CustodianRow, connection, with_for_update=True)
        if row is None:
            row = CustodianRow(connection=connection)
            session.add(row)
        row.fingerprint, row.holder, row.announced_at = fingerprint, holder, now
    session.flush()
