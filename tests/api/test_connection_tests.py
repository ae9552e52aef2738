"""Airflow's own test of a Connection, with the stored secret of a protected one."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.core_api.routes.public.connections import connections_router
from airflow.models.connection import Connection
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient

from airflow_approvals.api import connection_tests
from airflow_approvals.api.auth import Caller
from airflow_approvals.api.root_middleware import MAX_CAPTURE_BYTES, ApprovalsMiddleware
from airflow_approvals.core.models import Channel, Person
from tests.control.airflow_scene import SECRET, Airflow

TEST = "/api/v2/connections/test"
MOVED = {
    "connection_id": "sink_a",
    "conn_type": "generic",
    "extra": '{"endpoint_url": "http://mine.invalid"}',
}


@pytest.fixture
def tested(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """The Connections that reach the test itself, with whatever secret they have then."""
    seen: list[Connection] = []

    def test(connection: Connection) -> tuple[bool, str]:
        seen.append(connection)
        return True, "fine"

    monkeypatch.setattr(Connection, "test_connection", test)
    monkeypatch.setenv("AIRFLOW__CORE__TEST_CONNECTION", "Enabled")
    return seen


@pytest.fixture
def client(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """Airflow's own routes behind the middleware, called by an administrator."""
    from airflow.api_fastapi.core_api import security

    user = SimpleAuthManagerUser(username="root", role="admin")

    async def caller(request: Any) -> Caller:
        return Caller(user, Person("root", "root"), Channel.UI)

    monkeypatch.setattr(connection_tests, "caller_of", caller)
    app = FastAPI()
    app.state.auth_manager = SimpleAuthManager()
    app.include_router(connections_router, prefix="/api/v2")
    app.dependency_overrides[security.get_user] = lambda: user
    app.add_middleware(ApprovalsMiddleware)
    return TestClient(app)


@pytest.mark.parametrize("spelling", ["sink_a", "SINK_A"])
@pytest.mark.parametrize("path", [TEST, "/api/v2/connections/enqueue-test"])
def test_a_protected_connection_is_tested_by_nobody(
    airflow: Airflow, client: TestClient, tested: list[Connection], spelling: str, path: str
) -> None:
    answer = client.post(path, json={**MOVED, "connection_id": spelling})
    assert answer.status_code == 403, answer.text
    assert "opens a protected sink" in answer.text
    assert tested == []
    (entry,) = airflow.entries(kind="credential_refused", actor="root", connection=spelling)
    assert entry["channel"] == "ui"


def test_without_the_guard_the_secret_goes_where_the_caller_says(
    airflow: Airflow, client: TestClient, tested: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it is there against: if this fails, Airflow does it itself and the guard can go."""
    monkeypatch.setattr(connection_tests, "concerns", lambda method, path: False)
    assert client.post(TEST, json=MOVED).status_code == 200
    (used,) = tested
    assert (used.password, used.extra_dejson["endpoint_url"]) == (SECRET, "http://mine.invalid")


def test_others_are_airflows_to_test(airflow: Airflow, client: TestClient, tested: list[Connection]) -> None:
    body = {"connection_id": "other", "conn_type": "generic", "password": "own"}
    assert client.post(TEST, json=body).json() == {"status": True, "message": "fine"}
    assert [one.password for one in tested] == ["own"]


@pytest.mark.parametrize("content", [b"no json", b"[]", b'{"connection_id": 5}'])
def test_what_names_no_connection_is_refused_by_airflow(
    airflow: Airflow, client: TestClient, tested: list[Connection], content: bytes
) -> None:
    answer = client.post(TEST, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert tested == []


def test_a_body_too_large_to_be_read_is_refused(
    airflow: Airflow, client: TestClient, tested: list[Connection]
) -> None:
    padded = b'{"connection_id": "sink_a"' + b" " * MAX_CAPTURE_BYTES + b"}"
    assert client.post(TEST, content=padded).status_code == 413
    assert tested == []


def test_a_fault_refuses(
    airflow: Airflow, client: TestClient, tested: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bool:
        raise RuntimeError("database gone")

    monkeypatch.setattr("airflow_approvals.enforcement.rings.is_protected", broken)
    assert client.post(TEST, json=MOVED).status_code == 403
    assert tested == []


def test_a_stranger_is_left_to_airflow(
    airflow: Airflow, client: TestClient, tested: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(request: Any) -> Caller:
        raise HTTPException(401, "Not authenticated")

    from airflow.api_fastapi.core_api import security

    def unknown() -> None:
        raise HTTPException(401, "Not authenticated")

    monkeypatch.setattr(connection_tests, "caller_of", nobody)
    client.app.dependency_overrides[security.get_user] = unknown  # type: ignore[attr-defined]
    assert client.post(TEST, json=MOVED).status_code == 401
    assert tested == []
