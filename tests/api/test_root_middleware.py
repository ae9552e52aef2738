"""What the root middleware lets through, what it will not do unread, and whom it writes down first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.testclient import TestClient

from airflow_approvals.api import auth, root_middleware
from airflow_approvals.api.root_middleware import MAX_CAPTURE_BYTES, ApprovalsMiddleware
from airflow_approvals.control.requesters import requesters_of
from airflow_approvals.core.models import Channel
from airflow_approvals.enforcement import overrides
from airflow_approvals.identity.users import person_of
from tests.control.airflow_scene import DAG_ID, Airflow, Run

Answer = Callable[[], Any]


@pytest.fixture
def run(airflow: Airflow) -> Run:
    return airflow.a_run()


class World:
    """Airflow's route for marking a task, behind the middleware; carol calls, unless told otherwise."""

    def __init__(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run, self.seen = run, list[Any]()
        self.answer: Answer = lambda: {"task_instances": []}
        self.path = f"/api/v2/dags/{DAG_ID}/dagRuns/{run.run_id}/taskInstances/gate"
        self._patch = monkeypatch
        app = FastAPI()

        @app.patch(self.path)
        async def mark(request: Request) -> Any:
            self.seen.append((await request.json(), self.barred()))
            return self.answer()

        @app.patch(f"{self.path}/xcomEntries/k")
        async def edit(request: Request) -> int:
            return len((await request.json())["value"])

        app.add_middleware(ApprovalsMiddleware)
        self.client = TestClient(app, raise_server_exceptions=False)
        self.is_called_by(SimpleAuthManagerUser(username="carol", role="user"))

    def is_called_by(self, user: SimpleAuthManagerUser | HTTPException) -> None:
        async def caller_of(request: Request) -> auth.Caller:
            if isinstance(user, HTTPException):
                raise user
            return auth.Caller(user, person_of(user), Channel.API)

        self._patch.setattr(root_middleware, "caller_of", caller_of)

    def barred(self) -> set[str]:
        found = self.run.airflow.look(lambda s: requesters_of(s, self.run.place()))
        return set(found.names) - {"alice"}

    def mark(self, **options: Any) -> Any:
        return self.client.patch(self.path, **(options or {"json": {"new_state": "success"}}))


@pytest.fixture
def world(run: Run, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(run, monkeypatch)


def test_an_override_reaches_airflow_whole_and_its_caller_is_written_down_before(world: World) -> None:
    assert world.mark().json() == {"task_instances": []}
    assert world.seen == [({"new_state": "success"}, {"carol"})]
    assert world.barred() == {"carol"}
    assert world.run.airflow.kinds(world.run) == ["run_overridden"]


def test_a_body_too_large_to_be_read_is_not_carried_out(world: World) -> None:
    padded = b'{"new_state": "success"' + b" " * MAX_CAPTURE_BYTES + b"}"
    assert world.mark(content=padded).status_code == 413
    assert (world.seen, world.barred()) == ([], set())


def test_an_xcom_of_any_size_goes_through(world: World) -> None:
    value = {"value": "x" * (MAX_CAPTURE_BYTES + 1)}
    assert world.client.patch(f"{world.path}/xcomEntries/k", json=value).json() == MAX_CAPTURE_BYTES + 1
    assert world.barred() == {"carol"}
    (entry,) = world.run.airflow.entries(kind="run_overridden", run_id=world.run.run_id)
    assert (entry["actor"], entry["details"]["act"]) == ("carol", "edit")


@pytest.mark.parametrize("status", [401, 403])
def test_a_call_of_nobody_is_answered_as_airflow_would_and_goes_no_further(world: World, status: int) -> None:
    """A token that ran out between Airflow's check and ours used to leave no record."""
    world.is_called_by(HTTPException(status, "Token Expired", {"WWW-Authenticate": "Bearer"}))
    answer = world.mark()
    assert (answer.status_code, answer.json()) == (status, {"detail": "Token Expired"})
    assert answer.headers["www-authenticate"] == "Bearer"
    assert (world.seen, world.barred()) == ([], set())


def test_a_caller_who_cannot_be_written_down_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise RuntimeError("no database")

    monkeypatch.setattr(overrides, "begin", broken)
    answer = world.mark()
    assert answer.status_code == 409
    assert "could not be written down" in answer.json()["detail"]
    assert world.seen == []


def refused() -> Response:
    return Response(status_code=409)


def broken() -> Response:
    return Response(status_code=500)


def raising() -> Response:
    raise RuntimeError("after the commit, perhaps")


@pytest.mark.parametrize(("answer", "barred"), [(refused, set()), (broken, {"carol"}), (raising, {"carol"})])
def test_only_what_airflow_has_surely_refused_is_taken_back(
    world: World, answer: Answer, barred: set[str]
) -> None:
    world.answer = answer
    world.mark()
    assert len(world.seen) == 1
    assert world.barred() == barred
    assert world.run.airflow.kinds(world.run) == []


def test_a_record_that_fails_leaves_the_caller_written_down(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **options: Any) -> None:
        raise RuntimeError("no database")

    monkeypatch.setattr(overrides, "keep", broken)
    assert world.mark().status_code == 200
    assert world.barred() == {"carol"}


def test_an_answer_of_any_size_is_read(world: World) -> None:
    shown = {"dag_id": DAG_ID, "dag_run_id": world.run.run_id, "task_id": "use", "map_index": -1}
    world.answer = lambda: {"task_instances": [shown], "padding": "x" * (MAX_CAPTURE_BYTES + 1)}
    world.mark()
    entries = world.run.airflow.entries(kind="run_overridden", run_id=world.run.run_id)
    assert [entry["task_id"] for entry in entries] == ["gate", "use"]
