"""What leans on Airflow's runs: starting one as its own route does, and those of a backfill."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from airflow.api_fastapi.core_api.datamodels.dag_run import TriggerDAGRunPostBody
from airflow.exceptions import ParamValidationError
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from airflow_approvals.core.models import Person


def cannot_start(session: Session, dag_id: str) -> str | None:
    """Return why Airflow's own route would start no run of this DAG, ``None`` when it would."""
    model = session.scalar(select(DagModel).where(~DagModel.is_stale, DagModel.dag_id == dag_id))
    if model is None:
        return "There is no such DAG."
    if model.has_import_errors:
        return "The DAG has import errors."
    if model.allowed_run_types is not None and DagRunType.MANUAL not in model.allowed_run_types:
        return "The DAG does not allow manual runs."
    return None


def conf_of(session: Session, dag_id: str, run_id: str) -> dict[str, Any] | None:
    """Return the configuration a run was started with, ``None`` when there is no such run."""
    run = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    return None if run is None else dict(run.conf or {})


def versions_of_run(session: Session, dag_id: str, run_id: str) -> set[UUID]:
    """Return the DAG versions that a run was made by and that its tasks run by."""
    made_by = select(DagRun.created_dag_version_id).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
    run_by = select(TaskInstance.dag_version_id).where(
        TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id
    )
    return {version for version in session.scalars(made_by.union(run_by)) if version is not None}


def start_run(session: Session, dag: Any, run_id: str, conf: dict[str, Any], person: Person) -> str | None:
    """Start a run with the person as its triggering user, as ``POST /dags/{id}/dagRuns`` does.

    :param dag: the newest serialized DAG.
    :returns: what is wrong with the configuration, ``None`` once the run is queued.
    """
    body = TriggerDAGRunPostBody(dag_run_id=run_id, logical_date=None, conf=conf)
    try:
        context = body.validate_context(dag)
        context.pop("note")
        dag.create_dagrun(
            **context,
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.REST_API,
            triggering_user_name=person.name,
            state=DagRunState.QUEUED,
            session=session,
        )
    except (ParamValidationError, ValueError):
        # The cause may quote what was sent.
        return "Airflow refuses this configuration for the DAG."
    session.flush()
    return None


def runs_of_backfill(dag_id: str, backfill_id: int) -> Select[str]:
    """Return a query for the ids of a backfill's runs."""
    return select(DagRun.run_id).where(DagRun.dag_id == dag_id, DagRun.backfill_id == backfill_id)
