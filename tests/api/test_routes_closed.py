"""Every route of the app, walked: nothing answers without a session or a signature."""

from __future__ import annotations

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from airflow_approvals.api.app import create_app

CALLS = [
    (method, route.path)
    for route in create_app().routes
    for method in sorted(getattr(route, "methods", None) or ())
]

OPENED_BY_A_VENDOR = {
    "/slack/interactions": "slack_not_configured",
    "/teams/messages": "teams_not_configured",
}


@pytest.fixture(scope="module")
def stranger() -> TestClient:
    """Somebody without a session; the dispatcher does not start, since no lifespan runs."""
    return TestClient(create_app(), raise_server_exceptions=False)


def test_every_route_is_a_plain_route_that_the_walk_can_call() -> None:
    assert all(isinstance(route, APIRoute) for route in create_app().routes)
    assert len(CALLS) >= 9


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_a_stranger_is_not_answered(stranger: TestClient, method: str, path: str) -> None:
    answer = stranger.request(
        method, path.replace("{request_id}", "some-request"), json={"verdict": "approve"}
    )
    if path in OPENED_BY_A_VENDOR:
        # Nothing to check by is configured here; with it the answer is 401, see their tests.
        assert (answer.status_code, answer.json()["code"]) == (503, OPENED_BY_A_VENDOR[path])
    else:
        assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in")


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/api/v1/openapi.json"])
def test_the_schema_is_not_open_either(stranger: TestClient, path: str) -> None:
    assert stranger.get(path).status_code in (401, 404)


def test_the_schema_describes_every_closed_route() -> None:
    described = create_app().openapi()["paths"]
    assert {path for _, path in CALLS} - set(described) == {"/api/v1/openapi.json"}
