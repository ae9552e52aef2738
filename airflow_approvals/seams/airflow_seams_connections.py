"""Airflow's Connections: whose they are, and the table read as a whole (for the doctor only)."""

from __future__ import annotations

from collections.abc import Collection

from airflow.models.connection import Connection
from airflow.models.dag import DagModel
from sqlalchemy import select
from sqlalchemy.orm import Session


def team_of(session: Session, dag_id: str) -> str | None:
    """Return the team whose Connections tasks of this DAG are given, ``None`` for everybody's.

    Source: ``get_team_name_dep`` of Airflow 3.3's Execution API, by which its route looks up.
    """
    from airflow.configuration import conf

    if not conf.getboolean("core", "multi_team", fallback=False):
        return None
    return DagModel.get_team_name(dag_id, session=session)


def team_of_task(session: Session, ti_id: str) -> str | None:
    """Return the team whose Connections a task is given, by the very query of Airflow's route."""
    from airflow.api_fastapi.execution_api.security import get_team_name_for_ti

    team: str | None = get_team_name_for_ti(ti_id, session)
    return team


def connections_holding(session: Session, secrets: Collection[str]) -> list[str]:
    """Return the ids of the Connections that hold one of these secrets, sorted.

    A Connection that cannot be decrypted (another Fernet key) holds nothing that can be used.
    """
    return sorted(
        connection.conn_id
        for connection in session.scalars(select(Connection))
        if any(secret in _text(connection) for secret in secrets)
    )


def _text(connection: Connection) -> str:
    try:
        return f"{connection.password or ''}\n{connection.extra or ''}"
    except Exception:  # whatever the cipher raises
        return ""
