"""Intake: what a gate's task asked for, taken down when it calls, before anything is judged.

The call is made on every try, its sender is proved by its token, and its body is fresh even
after a clear, when Airflow's stored row is not. The first intake of a try counts; another ask
on the same try is a conflict, and then nothing can be approved on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from airflow.models.taskinstance import TaskInstance
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control import clears
from airflow_approvals.core.ask import ASK_PARAM, Ask
from airflow_approvals.core.digest import sha256_digest
from airflow_approvals.core.models import RequestState
from airflow_approvals.errors import ContractError
from airflow_approvals.seams import airflow_seams, dag_graph
from airflow_approvals.store import ledger
from airflow_approvals.store.tables import IntakeRow, RequestRow

#: An intake whose gate has not parked after this long belongs to a task that died.
ABANDONED_AFTER = timedelta(hours=1)
#: States of a gate that has asked and is not parked yet.
ON_ITS_WAY = (TaskInstanceState.RUNNING, TaskInstanceState.QUEUED, TaskInstanceState.SCHEDULED)


def waiting(
    session: Session, *, now: datetime, limit: int, but_for: frozenset[int] = frozenset()
) -> list[int]:
    """Return the ids of intakes that may be ready to become requests, oldest first.

    Those of gates that are still on their way wait apart: enough of them would hold up all others.

    :param but_for: ids of intakes to leave out.
    """
    place = (IntakeRow.dag_id, IntakeRow.run_id, IntakeRow.task_id, IntakeRow.map_index)
    ready = ~airflow_seams.is_task_in(place, ON_ITS_WAY) | (IntakeRow.received_at < now - ABANDONED_AFTER)
    found = select(IntakeRow.id).where(IntakeRow.state == "new", ready, IntakeRow.id.not_in(but_for))
    return list(session.scalars(found.order_by(IntakeRow.id).limit(limit)))


def is_overdue(session: Session, intake_id: int, *, now: datetime) -> bool:
    """Whether an intake waits for longer than its gate was to wait for a decision."""
    intake = session.get(IntakeRow, intake_id)
    if intake is None:
        return False
    try:
        ask = Ask.from_document(json.loads(intake.ask))
    except ContractError:
        return True  # one that this version cannot read is never registered
    return intake.received_at + timedelta(seconds=ask.timeout_seconds) <= now


def is_gate_task(session: Session, ti: TaskInstance) -> bool:
    """Whether the task instance is a gate, by the marker in its serialized DAG."""
    dag = dag_graph.load_dag(session, ti)
    task = dag.task_dict.get(ti.task_id) if dag is not None else None
    return task is not None and dag_graph.is_gate(task)


def take_down(session: Session, ti: TaskInstance, body: Mapping[str, Any], *, now: datetime) -> IntakeRow:
    """Record what a gate's task sent with its human-in-the-loop call.

    :param body: the JSON body of the call.
    :returns: the row; its ``state`` says whether it counts.
    """
    # Two posts at once meet here: the second sees the first one's row.
    airflow_seams.lock_task(session, airflow_seams.place_of(ti))
    same_try = _of_try(session, str(ti.id), ti.try_number)
    text, digest, state = _read(body)
    for row in same_try:
        if row.ask_digest == digest:
            return row
    # One that was refused asked for nothing.
    if any(row.state != "invalid" for row in same_try):
        state = "conflict"
    row = IntakeRow(
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=ti.map_index,
        ti_id=str(ti.id),
        try_number=ti.try_number,
        ask_digest=digest,
        ask=text,
        state=state,
        received_at=now,
    )
    session.add(row)
    session.flush()
    if state == "new":
        clears.end_for_new_try(session, ti, digest, now=now)
    else:
        _record_problem(session, row, now=now)
    return row


def _of_try(session: Session, ti_id: str, try_number: int) -> list[IntakeRow]:
    found = select(IntakeRow).where(IntakeRow.ti_id == ti_id, IntakeRow.try_number == try_number)
    return list(session.scalars(found.with_for_update()))


def _read(body: Mapping[str, Any]) -> tuple[str, str, str]:
    params = body.get("params")
    document = params.get(ASK_PARAM) if isinstance(params, Mapping) else None
    try:
        ask = Ask.from_document(document or {})
    except ContractError as error:
        text = json.dumps({"invalid": error.message})
        return text, sha256_digest(json.dumps(document, sort_keys=True, default=str).encode()), "invalid"
    return json.dumps(ask.to_document(), sort_keys=True), ask.digest, "new"


def _record_problem(session: Session, row: IntakeRow, *, now: datetime) -> None:
    """Enter the problem; a request that is still open on this try cannot be approved any more."""
    kind = "intake_conflict" if row.state == "conflict" else "intake_invalid"
    request = session.scalar(
        select(RequestRow)
        .where(RequestRow.ti_id == row.ti_id, RequestRow.try_number == row.try_number)
        .with_for_update()
    )
    ledger.append(
        session,
        kind,
        at=now,
        request_id=request.id if request else None,
        place=row.place,
        details={"ask": row.ask_digest, "try_number": row.try_number},
    )
    if request is not None and request.state == RequestState.PENDING:
        # The dispatcher closes it: settling needs locks that come before the ledger's.
        request.expires_at = min(request.expires_at, now)
        request.decided_because = CONFLICT


#: Set on a request whose task sent a second, different ask while it was open.
CONFLICT = "The task sent a second, different request on the same try."


def place_has_intake(session: Session, ti_id: str) -> bool:
    """Whether this task instance has ever sent an ask."""
    return session.scalar(select(IntakeRow.id).where(IntakeRow.ti_id == ti_id).limit(1)) is not None
