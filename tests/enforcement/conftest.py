"""Fixtures of the control plane's tests."""

from tests.control.airflow_database import (
    airflow,
    bare_airflow,
    postgres_airflow,
    postgres_metadata,
    sqlite_metadata,
)
from tests.control.execution_worker import client, execution_app, newest, worker

__all__ = [
    "airflow",
    "bare_airflow",
    "client",
    "execution_app",
    "newest",
    "postgres_airflow",
    "postgres_metadata",
    "sqlite_metadata",
    "worker",
]
