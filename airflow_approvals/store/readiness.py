"""Whether the metadata database holds the control plane's tables, as this version needs them."""

from __future__ import annotations

from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from airflow_approvals.errors import ConfigurationError
from airflow_approvals.store.db_manager import VERSION_TABLE, ApprovalsDBManager
from airflow_approvals.store.session import run_read

_MIGRATE = "Run `airflow db migrate` with this version of airflow-approvals."


def require_ready() -> None:
    """Look at the revision of the tables.

    :raises ConfigurationError: when the database cannot be asked, or has other tables.
    """
    try:
        found = run_read(_revision)
    except DBAPIError as error:
        raise ConfigurationError(
            f"The metadata database cannot be asked: {type(error.orig).__name__}.",
            "Try again when it can be.",
        ) from None
    wanted = list(ApprovalsDBManager.revision_heads_map.values())[-1]
    if found is None:
        raise ConfigurationError("The metadata database has no approvals tables.", _MIGRATE)
    if found != wanted:
        raise ConfigurationError(
            f"The approvals tables are at revision {found}, and this version needs {wanted}.", _MIGRATE
        )


def _revision(session: Session) -> str | None:
    if not inspect(session.connection()).has_table(VERSION_TABLE):
        return None
    found: str | None = session.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608 - a constant
    return found
