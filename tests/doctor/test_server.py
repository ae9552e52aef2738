from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI

from airflow_approvals.doctor import server
from airflow_approvals.doctor.findings import Severity


def ids(findings):
    return [finding.check for finding in findings]


def test_the_doors_of_the_real_app_are_closed(airflow, around):
    assert ids(server.routes_closed(around())) == []


def test_an_open_door_is_named(around, monkeypatch):
    app = FastAPI()

    @app.get("/api/v1/requests/{request_id}")
    def somebody_forgot_to_close_it() -> str:
        return "a request"

    monkeypatch.setattr(server, "create_app", lambda: app)
    (found,) = server.routes_closed(around())
    assert found.what.startswith("GET /approvals/api/v1/requests/{request_id} answers 200")
    assert found.severity is Severity.CRITICAL


def test_everybody_as_admin_and_any_origin(around, monkeypatch):
    assert ids(server.strangers_as_users(around())) == []
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True")
    monkeypatch.setenv("AIRFLOW__API__ACCESS_CONTROL_ALLOW_ORIGINS", "https://ours *")
    assert ids(server.strangers_as_users(around())) == ["everybody_is_admin", "cors_wildcard"]


def test_connections_that_anybody_may_test(around, monkeypatch):
    assert ids(server.connections_testable(around())) == []
    monkeypatch.setenv("AIRFLOW__CORE__TEST_CONNECTION", "Enabled")
    assert ids(server.connections_testable(around())) == ["test_connection"]


def test_workers_on_another_server(around, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "http://localhost:8080/execution/")
    assert ids(server.servers_split(around())) == []
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "http://inner:9090/execution/")
    assert ids(server.servers_split(around())) == ["split_servers"]


def test_the_hooks_of_this_environment_stand(around):
    assert ids(server.hooks_answering(around())) == []


def test_a_hook_that_is_gone_is_named(around):
    from airflow.api_fastapi.execution_api.routes import execution_api_router

    from airflow_approvals.enforcement import execution_hooks

    route = next(
        route
        for route in execution_api_router.routes
        if route.path.endswith("/connections/{connection_id}") and "GET" in route.methods
    )
    kept = list(route.dependencies)
    route.dependencies[:] = [one for one in kept if one.dependency is not execution_hooks.connection_hook]
    try:
        (found,) = server.hooks_answering(around())
        assert found.check == "hook_missing"
        assert "GET /connections/{connection_id} (API versions " in found.what
    finally:
        route.dependencies[:] = kept


@pytest.mark.parametrize(
    ("seconds", "severities"),
    [(0, []), (30, [Severity.WARNING]), (-7200, [Severity.CRITICAL])],
)
def test_clocks(around, monkeypatch, seconds, severities):
    monkeypatch.setattr(server, "database_clock", lambda: datetime.now(UTC) + timedelta(seconds=seconds))
    assert [one.severity for one in server.clocks_agree(around())] == severities


def test_the_databases_own_clock_is_read(database):
    from airflow_approvals.store.session import database_clock

    assert abs(database_clock() - datetime.now(UTC)) < timedelta(minutes=5)


def test_a_dispatcher_that_is_not_running_is_said(airflow, around):
    assert "No dispatcher is running" in " ".join(one.what for one in server.control_plane_healthy(around()))
