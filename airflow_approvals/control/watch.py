"""What the dispatcher looks for across Airflow's rows and ours; reads only."""

from __future__ import annotations

from airflow.models.taskinstance import TaskInstance
from airflow.utils.state import TaskInstanceState
from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from airflow_approvals.core.models import GrantState, RequestState
from airflow_approvals.seams.airflow_seams import DONE
from airflow_approvals.store.tables import BindingRow, GrantRow, RequestRow


def stray_requests(session: Session) -> list[str]:
    """Return pending requests whose gate has gone, moved on or stopped waiting."""
    rows = session.execute(
        # Columns, not the entity: its eager inner joins would drop the requests without a task.
        select(
            RequestRow.id,
            RequestRow.ti_id,
            RequestRow.try_number,
            TaskInstance.id.label("now_id"),
            TaskInstance.try_number.label("now_try"),
            TaskInstance.state,
        )
        .outerjoin(
            TaskInstance,
            and_(
                TaskInstance.dag_id == RequestRow.dag_id,
                TaskInstance.run_id == RequestRow.run_id,
                TaskInstance.task_id == RequestRow.task_id,
                TaskInstance.map_index == RequestRow.map_index,
            ),
        )
        .where(RequestRow.state == RequestState.PENDING)
    )
    return [
        row.id
        for row in rows
        if (str(row.now_id), row.now_try, row.state)
        != (row.ti_id, row.try_number, TaskInstanceState.AWAITING_INPUT)
    ]


def grants_seen_through(session: Session, limit: int) -> list[str]:
    """Return bound grants whose task stands at success or skipped."""
    found = (
        select(GrantRow.id)
        .join(BindingRow, BindingRow.grant_id == GrantRow.id)
        .join(
            TaskInstance,
            and_(
                TaskInstance.dag_id == GrantRow.dag_id,
                TaskInstance.run_id == GrantRow.run_id,
                TaskInstance.task_id == BindingRow.task_id,
                TaskInstance.map_index == BindingRow.map_index,
            ),
        )
        .where(GrantRow.state == GrantState.BOUND, TaskInstance.state.in_(DONE))
    )
    return list(session.scalars(found.limit(limit)))
