"""Fixtures of the control plane's tests."""

from tests.control.airflow_database import (
    airflow,
    bare_airflow,
    postgres_airflow,
    postgres_metadata,
    sqlite_template,
)

__all__ = ["airflow", "bare_airflow", "postgres_airflow", "postgres_metadata", "sqlite_template"]
