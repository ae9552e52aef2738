"""What the custodian's transactions lock, in the one order, and what they find."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control import grants
from airflow_approvals.control.pins import Pins
from airflow_approvals.seams import airflow_seams
from airflow_approvals.store import custody
from airflow_approvals.store.release_tables import CustodyRow
from airflow_approvals.store.tables import GrantRow, RequestRow


@dataclass(frozen=True)
class Held:
    """The locked rows of one job, freshly loaded. ``parked`` is ``None`` when the gate is gone."""

    job: CustodyRow
    request: RequestRow
    parked: airflow_seams.Parked | None
    grant: GrantRow | None

    @property
    def pins(self) -> Pins:
        """What was pinned with the request."""
        return Pins.from_text(self.request.pinned)

    @property
    def gate(self) -> airflow_seams.Parked | None:
        """The gate, if it still waits on the very try of the request."""
        parked, request = self.parked, self.request
        if parked is None or not parked.is_try(request.ti_id, request.try_number):
            return None
        return parked if parked.is_waiting else None

    def is_held_by(self, holder: str) -> bool:
        """Whether that custodian still has the job: another takes over from one that seems dead."""
        return self.job.holder == holder and self.job.state in custody.OPEN_STATES


def lock(session: Session, job_id: int) -> Held:
    """Lock task instance, inbox row, request, grants and job, and load them anew."""
    job = session.get_one(CustodyRow, job_id)
    request = session.get_one(RequestRow, job.request_id)
    parked = airflow_seams.lock_gate(session, request.place)
    session.refresh(request, with_for_update=True)
    grants.lock_run(session, request.place)
    return Held(custody.locked(session, job_id), request, parked, _grant_of(session, request.id))


def _grant_of(session: Session, request_id: str) -> GrantRow | None:
    return session.scalar(
        select(GrantRow)
        .where(GrantRow.request_id == request_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
