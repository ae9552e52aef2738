"""What no database takes, and more than there may be, gets one clear refusal and never a fault."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from fastapi import HTTPException, Request
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from airflow_approvals.api import auth, batches, inbox_route
from airflow_approvals.api.app import create_app
from airflow_approvals.api.bounds import MAX_BODY_BYTES, Bounds
from airflow_approvals.api.root_middleware import ApprovalsMiddleware
from airflow_approvals.core.models import Channel
from airflow_approvals.identity import users
from airflow_approvals.store import ledger
from airflow_approvals.store.tables import RequestRow
from tests.api.conftest import Signed
from tests.api.test_batches import DECISIONS, shown
from tests.control.airflow_scene import DAG_ID, Airflow

JSON = {"content-type": "application/json", "idempotency-key": "k"}
DEEP = b"[" * 60_000


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/v1/requests/%00", b"", 422),
        ("GET", "/api/v1/ledger/entries?request_id=%00", b"", 422),
        ("GET", "/links?attempt=%00", b"", 422),
        ("GET", f"/api/v1/ledger/entries?after={2**63}", b"", 422),
        ("GET", f"/api/v1/decisions?dag_id=d&backfill_id={2**31}", b"", 422),
        ("POST", f"/api/v1/links/{2**31}/vouch", b"{}", 422),
        ("POST", "/api/v1/requests/r/votes", b'{"verdict": "approve", "reason": "a\\u0000"}', 422),
        ("POST", "/api/v1/requests/r/votes", b'{"verdict": "approve", "reason": "a\\\\\\u0000"}', 422),
        ("POST", "/api/v1/requests/r/votes", b'{"verdict": "approve", "reason": "a\\\\u0000"}', 404),
        ("POST", "/api/v1/requests/r/votes", b'{"verdict": "approve", "reason": "\\ud800"}', 422),
        ("POST", "/api/v1/requests/r/votes", b'{"verdict": "approve", "reason": "a\0"}', 422),
        ("POST", "/api/v1/requests", b'{"dag_id": "d", "conf": {"a": NaN}}', 422),
        ("POST", "/api/v1/requests", b'{"dag_id": "d", "conf": {"a": "\\ud800"}}', 422),
        ("POST", "/api/v1/requests", b'{"dag_id": "d", "conf": {"a": "\\u0000"}}', 422),
        ("POST", "/api/v1/decisions", b" " * (MAX_BODY_BYTES + 1), 413),
    ],
)
def test_it_is_refused(
    airflow: Airflow, signed: Signed, method: str, path: str, body: bytes, status: int
) -> None:
    answer = signed("bob", channel=Channel.UI).request(method, path, content=body or None, headers=JSON)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"code", "detail"}


def test_a_stranger_is_not_read_to_the_end(airflow: Airflow) -> None:
    stranger = TestClient(create_app(), raise_server_exceptions=False)
    answer = stranger.post(DECISIONS, content=b" " * (MAX_BODY_BYTES + 1), headers=JSON)
    assert answer.status_code == 413


@pytest.mark.parametrize("around", [Bounds, ApprovalsMiddleware])
def test_a_body_that_was_cut_off_goes_no_further(around: type[Bounds] | type[ApprovalsMiddleware]) -> None:
    reached: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)

    parts = [{"type": "http.request", "body": b'{"dag_id"', "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return parts.pop(0)

    async def send(message: Any) -> None:
        reached.append(message)

    path = (
        "/api/v2/dags/d/clearTaskInstances" if around is ApprovalsMiddleware else "/approvals/api/v1/requests"
    )
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []}
    asyncio.run(around(app)(scope, receive, send))
    assert (reached, parts) == ([], [])


def test_an_origin_that_is_no_address_is_another_page() -> None:
    headers = [(b"origin", b"http://["), (b"host", b"airflow.example.com")]
    assert not auth.same_origin(Request({"type": "http", "headers": headers}))
    assert not auth.same_origin(Request({"type": "http", "headers": [(b"host", b"")]}))


@pytest.mark.parametrize(
    "place", [f"{DAG_ID}/dagRuns/\0/taskInstances/t/-1", f"d/dagRuns/r/taskInstances/t/{9**30}"]
)
def test_a_place_that_no_database_has_is_airflows_to_refuse(place: str) -> None:
    assert inbox_route.place_in("PATCH", f"/api/v2/dags/{place}/hitlDetails") is None


@pytest.mark.parametrize("options", [[[]], [{}], [None], [7], ["Approve", "Approve"], "Approve", None])
def test_an_answer_that_chooses_nothing_is_refused(options: Any) -> None:
    with pytest.raises(HTTPException) as refused:
        inbox_route._verdict({"chosen_options": options})
    assert refused.value.status_code == 400


def test_an_answer_as_deep_as_a_well_is_not_json() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": DEEP, "more_body": False}

    with pytest.raises(HTTPException) as refused:
        asyncio.run(inbox_route._body(Request({"type": "http", "headers": []}, receive)))
    assert refused.value.status_code == 422


def test_a_database_that_fails_is_said_in_a_sentence(
    airflow: Airflow, signed: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: Any, **__: Any) -> None:
        raise OperationalError("SELECT 1", {}, Exception("the password is hunter2"))

    run = airflow.a_run()
    request, other = run.ask(), airflow.a_run().ask()
    decide = batches.decide

    def lost_for_one(request_id: str, **options: Any) -> Any:
        return lost() if request_id == request.id else decide(request_id, **options)

    monkeypatch.setattr(batches, "decide", lost_for_one)
    body = {"verdict": "approve", "requests": [shown(request), shown(other)]}
    answer = signed("bob").post(DECISIONS, json=body)
    assert [(one["state"], one["code"]) for one in answer.json()] == [
        (None, "unavailable"),
        ("approved", None),
    ]
    monkeypatch.setattr(users, "may_see", lost)
    answer = signed("bob").get(f"/api/v1/requests/{request.id}")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "hunter2" not in answer.text


def test_entries_of_dags_that_are_nobody_elses_are_left_out(
    airflow: Airflow, signed: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = airflow.a_run(), airflow.a_run("ungated")
    request = ours.ask()
    airflow.do(lambda s: _entry_of(s, theirs))
    # One names its request only, which is of the other DAG.
    airflow.do(lambda s: setattr(s.get_one(RequestRow, request.id), "dag_id", "ungated"))
    airflow.do(lambda s: ledger.append(s, "standing_ended", at=airflow.now, request_id=request.id))
    known = len(airflow.entries())

    def page(limit: int) -> dict[str, Any]:
        return dict(signed("bob").get("/api/v1/ledger/entries", params={"limit": limit}).json())

    assert len(page(1000)["entries"]) == known
    monkeypatch.setattr(users, "may_read_audit", lambda user, dag_id: dag_id != "ungated")
    found = page(1000)["entries"]
    assert len(found) == known - 2
    assert all(entry["dag_id"] != "ungated" for entry in found)
    assert json.dumps(found).count(ours.run_id) > 0
    assert page(known)["next"] == airflow.entries()[-1]["seq"], "whoever pages on misses nothing of theirs"


def _entry_of(session: Any, run: Any) -> None:
    ledger.append(session, "vote_refused", at=run.airflow.now, place=run.place(), details={"name": "eve"})
