"""No order of events yields a usable grant without satisfied seats.

``make test`` runs a slice with a fixed seed on SQLite, ``make soak`` the full length with
random ones, on PostgreSQL too.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, tzinfo

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from airflow_approvals.control import decisions
from airflow_approvals.enforcement import execution_hooks, overrides
from tests.control.airflow_scene import Airflow
from tests.control.grant_machine import GrantMachine
from tests.control.grant_world import GROUPS, PEOPLE, World
from tests.identity import fab_scene

pytestmark = pytest.mark.soak
SOAK = bool(os.environ.get("APPROVALS_SOAK"))
ENGINES = ("airflow", "postgres_airflow") if SOAK else ("airflow",)
LENGTH = settings(
    max_examples=1_000 if SOAK else 40,
    stateful_step_count=50 if SOAK else 30,
    derandomize=not SOAK,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
_OFTEN = {"credential", "credential refused", "start", "start refused", "vote: approved", "grant killed"}
_RARELY = {"grant spent", "grant expired", "vote: rejected", "taken back", "withdrawn", "closed"}


class Clock:
    """The scene's time in the place of the wall's."""

    def __init__(self, airflow: Airflow) -> None:
        self._airflow = airflow

    def now(self, zone: tzinfo) -> datetime:
        return self._airflow.now.astimezone(zone)


@pytest.fixture(params=ENGINES)
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    airflow: Airflow = request.getfixturevalue(request.param)
    airflow.now = datetime.now(UTC).replace(microsecond=0)
    for module in (decisions, execution_hooks, overrides):
        monkeypatch.setattr(module, "datetime", Clock(airflow))
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", fab_scene.FAB)
    ids = {name: fab_scene.add_user(airflow.database, name, *GROUPS) for name in PEOPLE}
    return World(airflow, ids)


def test_no_order_of_events_opens_more_than_the_seats_allow(world: World) -> None:
    machine = type("OnThisDatabase", (GrantMachine,), {"world": world})
    run_state_machine_as_test(machine, settings=LENGTH)
    # What never happened was never tried.
    assert (_OFTEN | _RARELY if SOAK else _OFTEN) <= set(world.seen)
