"""Clears: what a gate's approval is worth once somebody has cleared the gate.

Airflow raises ``max_tries`` when it clears a task that has finished. A task that is cleared while
it runs is restarted with the same number, as after an automatic retry; then the run's count of
clears tells, and the record of who cleared what, for calls that leave the count alone
(``reset_dag_runs: false``). A clear elsewhere in the run looks the same to a gate that Airflow
retries after it: people are asked once more than needed, and nothing opens.
"""

from __future__ import annotations

import json
from datetime import datetime

from airflow.models.taskinstance import TaskInstance
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control import grants
from airflow_approvals.control.pins import Pins
from airflow_approvals.core.models import GrantState, Place
from airflow_approvals.seams import airflow_seams
from airflow_approvals.store.tables import ActorRow, GrantRow, RequestRow


def was_cleared_at_work(session: Session, request: RequestRow) -> bool:
    """Whether a gate that seems to be retried may have been cleared since this request."""
    now = airflow_seams.clear_number(session, request.dag_id, request.run_id)
    if Pins.from_text(request.pinned).clear_number != now:
        return True
    by_people = select(ActorRow.id).where(
        ActorRow.dag_id == request.dag_id,
        ActorRow.run_id == request.run_id,
        ActorRow.task_id == request.task_id,
        ActorRow.map_index == request.map_index,
        ActorRow.act == "clear",
        ActorRow.at >= request.created_at,
    )
    return session.scalar(by_people.limit(1)) is not None


def end_for_new_try(session: Session, ti: TaskInstance, ask_digest: str, *, now: datetime) -> None:
    """Kill what an earlier approval of this gate left open, when the gate was cleared since, or now
    asks for something else: whatever becomes of that, people did not say yes to it.

    After an automatic retry that asks for the same the recorded decision is applied again.
    """
    grant = grants.of_gate(session, airflow_seams.place_of(ti))
    if grant is None or grant.state == GrantState.KILLED:
        return
    recorded = {(task, index): count for task, index, count in json.loads(grant.path_tries)}
    request = session.get_one(RequestRow, grant.request_id)
    same_tries = recorded.get((ti.task_id, ti.map_index)) == ti.max_tries
    if not same_tries or was_cleared_at_work(session, request):
        grants.end(session, grant, GrantState.KILLED, "the gate was cleared", now=now)
    elif request.ask_digest != ask_digest:
        grants.end(session, grant, GrantState.KILLED, "the gate asked for something else", now=now)


def end_for_clear(session: Session, place: Place, *, now: datetime) -> None:
    """Kill what is left of a gate's approval as somebody clears that gate, or its whole run.

    The caller has locked the run's grants.

    :param place: the gate; without a task, the run.
    """
    found = select(GrantRow).where(
        GrantRow.dag_id == place.dag_id, GrantRow.run_id == place.run_id, GrantRow.state.in_(grants.OPENED)
    )
    if place.task_id:
        found = found.where(GrantRow.task_id == place.task_id, GrantRow.map_index == place.map_index)
    for grant in list(session.scalars(found.order_by(GrantRow.issued_at).with_for_update())):
        grants.end(session, grant, GrantState.KILLED, "the gate was cleared", now=now)
