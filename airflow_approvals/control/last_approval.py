"""The last approval of the same DAG and sink, and what a request changes about it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control import judging
from airflow_approvals.control.pins import Pins
from airflow_approvals.core.changes import Compared, differences
from airflow_approvals.core.models import RequestState
from airflow_approvals.store.release_tables import BreakGlassRow
from airflow_approvals.store.tables import RequestRow


def changes_since(session: Session, request: RequestRow) -> tuple[datetime | None, tuple[str, ...]]:
    """Return when the last approval was and what differs; ``(None, ())`` when this is the first.

    Approvals after the request was decided are not looked at, so what was shown stays what is
    shown. A gate that was opened by break-glass has been looked at by nobody, and is passed over.
    """
    emergencies = select(BreakGlassRow.request_id)
    found = select(RequestRow).where(
        RequestRow.dag_id == request.dag_id,
        RequestRow.sink == request.sink,
        RequestRow.state == RequestState.APPROVED,
        RequestRow.id != request.id,
        RequestRow.id.not_in(emergencies),
    )
    if request.decided_at is not None:
        found = found.where(RequestRow.decided_at < request.decided_at)
    latest_first = found.order_by(RequestRow.decided_at.desc(), RequestRow.id.desc())
    last = session.scalars(latest_first.limit(1)).first()
    if last is None:
        return None, ()
    return last.decided_at, differences(_compared(last), _compared(request))


def _compared(request: RequestRow) -> Compared:
    pins = Pins.from_text(request.pinned)
    code = (pins.dag_hash, pins.source_hash, pins.bundle_version)
    return Compared(judging.ask_of(request), pins.uri_prefix, pins.fingerprint, code)
