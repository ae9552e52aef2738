"""Fixtures of the contract tests: a real Airflow metadata database."""

from tests.control.airflow_database import (
    airflow,
    bare_airflow,
    postgres_airflow,
    postgres_metadata,
    sqlite_metadata,
)

__all__ = ["airflow", "bare_airflow", "postgres_airflow", "postgres_metadata", "sqlite_metadata"]
