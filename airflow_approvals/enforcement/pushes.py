"""Pushes: calls by which a parked gate's own token would have it go on without a decision.

Airflow refuses them by the gate's state, and leaves no record.
"""

from __future__ import annotations

from datetime import datetime

from airflow.utils.state import TaskInstanceState
from sqlalchemy.orm import Session

from airflow_approvals.control import intake
from airflow_approvals.core.models import Refusal
from airflow_approvals.seams import airflow_seams
from airflow_approvals.store import ledger


def is_parked_gate(session: Session, ti_id: str) -> bool:
    """Whether the task instance is a gate that waits for people."""
    ti = airflow_seams.task_instance(session, ti_id)
    return (
        ti is not None and ti.state == TaskInstanceState.AWAITING_INPUT and intake.is_gate_task(session, ti)
    )


def refuse_start(session: Session, ti_id: str, *, now: datetime) -> Refusal | None:
    """Refuse the start of a parked gate; only its decision starts it again."""
    if not is_parked_gate(session, ti_id):
        return None
    keep(session, ti_id, "run", now=now)
    return Refusal("gate_parked", "A parked gate goes on when its request is decided, not before.", 409)


def keep(session: Session, ti_id: str, call: str, *, now: datetime) -> None:
    """Enter a call that was made on a parked gate.

    :param call: the end of its route, ``run`` or ``state``.
    """
    ti = airflow_seams.task_instance(session, ti_id)
    if ti is None:
        return
    details = {"task": f"{ti.dag_id}.{ti.task_id}", "call": call}
    ledger.append(
        session, "foreign_answer_refused", at=now, place=airflow_seams.place_of(ti), details=details
    )
