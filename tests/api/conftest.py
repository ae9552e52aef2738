"""The app over a real Airflow database, called as signed-in users."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from fastapi.testclient import TestClient

from airflow_approvals.api import auth
from airflow_approvals.api.app import create_app
from airflow_approvals.core.models import Channel
from airflow_approvals.identity.users import person_of
from tests.control.airflow_database import (
    airflow,
    bare_airflow,
    postgres_airflow,
    postgres_metadata,
    sqlite_metadata,
)
from tests.control.airflow_scene import Airflow
from tests.control.teams_scene import TeamsScene, teams_scene

__all__ = ["airflow", "bare_airflow", "postgres_airflow", "postgres_metadata", "sqlite_metadata"]
Signed = Callable[..., TestClient]


@pytest.fixture
def signed() -> Iterator[Signed]:
    """Give a client of the app that is signed in as a user of Airflow's simple auth manager."""
    apps: list[Any] = []

    def client(name: str, role: str = "user", channel: Channel = Channel.API) -> TestClient:
        app = create_app()
        user = SimpleAuthManagerUser(username=name, role=role)
        caller = auth.Caller(user, person_of(user), channel)
        for dependency in (auth.signed_in, auth.signed_in_to_change):
            app.dependency_overrides[dependency] = lambda: caller
        apps.append(app)
        return TestClient(app, raise_server_exceptions=False)

    yield client
    for app in apps:
        app.dependency_overrides.clear()


@pytest.fixture
def teams(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> Iterator[TeamsScene]:
    with teams_scene(airflow, monkeypatch) as scene:
        yield scene


@pytest.fixture
def postgres_teams(postgres_airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> Iterator[TeamsScene]:
    with teams_scene(postgres_airflow, monkeypatch) as scene:
        yield scene
