"""Break-glass over HTTP: closed to strangers, to other pages, and to whom Airflow does not let answer."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from fastapi import HTTPException
from fastapi.testclient import TestClient

from airflow_approvals.api import auth
from airflow_approvals.api.app import create_app
from airflow_approvals.identity import users
from airflow_approvals.store.tables import RequestRow
from tests.control.airflow_scene import Airflow, Run
from tests.control.emergency_scene import EMERGENCY_POLICY, activate, nothing_opened, open_gate

SAID = {"reason": "production is down", "ticket": "INC-1"}
PAGE = {"x-approvals-request": "1", "sec-fetch-site": "same-origin", "x-user": "erin"}


@pytest.fixture
def run(airflow: Airflow) -> Run:
    activate(airflow)
    return airflow.a_run()


@pytest.fixture
def request_row(run: Run) -> RequestRow:
    return run.ask()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """The app, with sessions told by a header in the place of Airflow's auth manager."""

    async def get_user(request: Any, *_: Any) -> SimpleAuthManagerUser:
        if (name := request.headers.get("x-user")) is None:
            raise HTTPException(401, "Not authenticated")
        return SimpleAuthManagerUser(username=name, role="user")

    monkeypatch.setattr(auth, "get_user", get_user)
    monkeypatch.setattr(users, "may_see", lambda user, dag_id: user.username != "outsider")
    monkeypatch.setattr(users, "may_answer", lambda user, dag_id: user.username != "viewer")
    return TestClient(create_app(), raise_server_exceptions=False)


def use(server: TestClient, request: RequestRow, headers: dict[str, str], body: Any = SAID) -> httpx.Response:
    return server.post(f"/api/v1/requests/{request.id}/break-glass", json=body, headers=headers)


def review(server: TestClient, request: RequestRow, name: str, **headers: str) -> httpx.Response:
    path = f"/api/v1/break-glass/{request.id}/review"
    return server.post(path, json={"review": "it was justified"}, headers={**PAGE, "x-user": name, **headers})


def test_from_a_page_it_opens_and_is_listed_and_reviewed(server: TestClient, request_row: RequestRow) -> None:
    answer = use(server, request_row, PAGE)
    assert (answer.status_code, answer.json()["state"]) == (200, "approved")
    record = server.get(f"/api/v1/requests/{request_row.id}", headers=PAGE).json()
    assert record["break_glass"]["person"] == "erin"
    assert record["decided_because"].startswith("BREAK-GLASS")
    (listed,) = server.get("/api/v1/break-glass", headers=PAGE).json()["uses"]
    assert (listed["request"], listed["skipped"]) == (request_row.id, ["bob", "carol"])
    assert listed["reviewed_at"] is None
    assert review(server, request_row, "erin").json()["code"] == "self_review"
    assert review(server, request_row, "grace").status_code == 200
    (listed,) = server.get("/api/v1/break-glass", headers=PAGE).json()["uses"]
    assert (listed["reviewed_by"], listed["review"]) == ("grace", "it was justified")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({**PAGE, "x-approvals-request": None}, 403),
        ({**PAGE, "sec-fetch-site": "cross-site"}, 403),
        ({**PAGE, "x-user": "viewer"}, 403),
        ({**PAGE, "x-user": "outsider"}, 404),
        ({**PAGE, "x-user": "bob"}, 403),
        ({**PAGE, "x-user": "alice"}, 403),
    ],
)
def test_who_may_not_opens_nothing(
    server: TestClient, run: Run, request_row: RequestRow, headers: dict[str, Any], status: int
) -> None:
    sent = {name: value for name, value in headers.items() if value is not None}
    assert use(server, request_row, sent).status_code == status
    nothing_opened(run, request_row)


def test_a_token_opens_nothing_where_tokens_do_not_vote(
    server: TestClient, run: Run, request_row: RequestRow
) -> None:
    activate(run.airflow, EMERGENCY_POLICY.replace("ui: decide, api: decide", "ui: decide, api: view"))
    answer = use(server, request_row, {"authorization": "Bearer x", "x-user": "erin"})
    assert (answer.status_code, answer.json()["code"]) == (403, "channel_views_only")
    nothing_opened(run, request_row)


@pytest.mark.parametrize(
    "body", [{}, {**SAID, "ticket": 1}, {**SAID, "more": 1}, {**SAID, "reason": "x" * 2001}]
)
def test_what_is_not_valid_opens_nothing(
    server: TestClient, run: Run, request_row: RequestRow, body: Any
) -> None:
    assert use(server, request_row, PAGE, body).status_code == 422
    nothing_opened(run, request_row)


def test_uses_and_reviews_are_closed_to_whom_airflow_shows_nothing(
    server: TestClient, request_row: RequestRow
) -> None:
    open_gate(request_row)
    hidden = server.get("/api/v1/break-glass", headers={"x-user": "outsider"})
    assert hidden.json() == {"uses": []}
    assert server.get("/api/v1/break-glass").status_code == 401
    assert review(server, request_row, "outsider").status_code == 404
    assert review(server, request_row, "viewer").status_code == 403
    crossed = review(server, request_row, "grace", **{"sec-fetch-site": "cross-site"})
    assert crossed.status_code == 403
