"""The doctor's patients: real metadata databases, and environments made up for a check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_approvals.config.settings import Settings
from airflow_approvals.doctor.findings import Surroundings
from tests.control.airflow_database import (
    airflow,
    bare_airflow,
    postgres_airflow,
    postgres_metadata,
    sqlite_metadata,
)

__all__ = ["airflow", "bare_airflow", "postgres_airflow", "postgres_metadata", "sqlite_metadata"]

HEALTHY = Surroundings(
    settings=Settings(protected_connections=frozenset({"sink_a"})),
    environ={},
    written=frozenset(),
    executors=("CeleryExecutor",),
    now=datetime.now(UTC),
)


@pytest.fixture
def around() -> Callable[..., Surroundings]:
    """Healthy surroundings, with changes."""

    def change(**changes: Any) -> Surroundings:
        return replace(HEALTHY, **changes)

    return change
