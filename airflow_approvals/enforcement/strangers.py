"""Whoever asks for a protected Connection and is no running task: refused, and on record.

That is code in a process with an Execution API of its own (DAG processor, triggerer, ``airflow tasks
test``, ``dag.test()``), which all go by one id that is nobody's; or the token of a task that has ended,
was deleted, or never was.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from uuid import UUID

from airflow.models.taskinstance import TaskInstance
from sqlalchemy.orm import Session

from airflow_approvals.core.models import Refusal
from airflow_approvals.core.spelling import connection_spelling
from airflow_approvals.seams import airflow_seams
from airflow_approvals.store import ledger

#: The task instance of a process without one. Source: ``InProcessExecutionAPI`` in Airflow's
#: ``api_fastapi/execution_api/app.py``.
NO_TASK = str(UUID(int=0))
#: A DAG file is parsed again and again, so such a process is entered once in this time per Connection.
AT_MOST_EVERY = timedelta(hours=1)
#: Commands that run DAG code without a task; anything else in ``sys.argv`` is nobody's business.
_COMMANDS = ("dag-processor", "triggerer", "tasks", "dags", "standalone")

_ENTERED: dict[str, datetime] = {}


def refuse(session: Session, ti: TaskInstance | None, ti_id: str, conn_id: str, *, now: datetime) -> Refusal:
    """Refuse, and enter who it was.

    :param ti: the task instance that the token names, if there is one.
    :returns: a refusal ``no_task``, 403.
    """
    why = f"Connection {conn_id} opens only to a running, approved task."
    if ti is not None or ti_id != NO_TASK or _is_due(conn_id, now):
        ledger.append(
            session,
            "credential_refused",
            at=now,
            place=airflow_seams.place_of(ti) if ti is not None else None,
            details={"because": why, **_who(ti, ti_id)},
        )
    return Refusal("no_task", why, 403)


def _who(ti: TaskInstance | None, ti_id: str) -> dict[str, object]:
    if ti is not None:
        return {"try_number": ti.try_number, "task_state": str(ti.state)}
    if ti_id != NO_TASK:
        return {"task_instance": ti_id}
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    return {"process": command if command in _COMMANDS else "another"}


def _is_due(conn_id: str, now: datetime) -> bool:
    conn_id = connection_spelling(conn_id)
    last = _ENTERED.get(conn_id)
    if last is not None and now - last < AT_MOST_EVERY:
        return False
    _ENTERED[conn_id] = now
    return True
