"""What Airflow knows of the source a task runs by.

Written against Airflow 3.3; ``tests/seams/test_airflow_seams_code.py`` holds a contract test for
each function. A DAG's serialized hash covers its structure: which callable a task runs is in it,
what the callable does is not.
"""

from __future__ import annotations

from airflow.models.dag import DagModel
from airflow.models.dag_version import DagVersion
from airflow.models.dagcode import DagCode
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import func, select
from sqlalchemy.orm import Session


def source_hash(session: Session, ti: TaskInstance) -> str:
    """Return Airflow's hash of the DAG file the task instance runs by; empty when unknown.

    A worker runs what its bundle holds at the version of the run. A bundle without versions holds
    only the newest file, whatever version of the DAG the run was created with.

    Source: ``DagCode`` of Airflow 3.3; ``SerializedDagModel.write_dag`` writes it with each version,
    and where only the source differs the DAG processor updates the newest one in place.
    """
    version = session.get(DagVersion, ti.dag_version_id) if ti.dag_version_id else None
    if version is None:
        return ""
    found = select(DagCode.source_code_hash)
    if version.bundle_version:
        return session.scalar(found.where(DagCode.dag_version_id == version.id)) or ""
    newest = found.join(DagVersion, DagVersion.id == DagCode.dag_version_id)
    newest = newest.where(DagVersion.dag_id == ti.dag_id).order_by(DagVersion.version_number.desc())
    return session.scalar(newest.limit(1)) or ""


def dags_without_versions(session: Session) -> list[str]:
    """Return the ids of the DAGs in use whose bundle keeps no versions, sorted."""
    found = select(DagModel.dag_id).where(
        DagModel.is_stale.is_(False), func.coalesce(DagModel.bundle_version, "") == ""
    )
    return list(session.scalars(found.order_by(DagModel.dag_id)))
