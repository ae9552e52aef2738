"""What the root middleware lets through, and what it will not do unread."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from pytest_mock import MockerFixture

from airflow_approvals.api import root_middleware
from airflow_approvals.api.root_middleware import MAX_CAPTURE_BYTES, ApprovalsMiddleware

MARK = "/api/v2/dags/d/dagRuns/r/taskInstances/t"


def world(mocker: MockerFixture) -> tuple[TestClient, list[Any], Any]:
    app, seen = FastAPI(), []

    @app.patch(MARK)
    async def mark(request: Request) -> dict[str, int]:
        seen.append(await request.json())
        return {"total": 1}

    app.add_middleware(ApprovalsMiddleware)
    return TestClient(app), seen, mocker.patch.object(root_middleware, "_keep")


def test_an_override_reaches_airflow_whole_and_is_kept(mocker: MockerFixture) -> None:
    client, seen, kept = world(mocker)
    assert client.patch(MARK, json={"new_state": "success"}).json() == {"total": 1}
    assert seen == [{"new_state": "success"}]
    assert kept.call_args.args[2:] == ({"new_state": "success"}, {"total": 1})


def test_a_body_too_large_to_be_read_is_not_carried_out(mocker: MockerFixture) -> None:
    client, seen, kept = world(mocker)
    padded = b'{"new_state": "success"' + b" " * MAX_CAPTURE_BYTES + b"}"
    assert client.patch(MARK, content=padded).status_code == 413
    assert seen == []
    assert not kept.called
