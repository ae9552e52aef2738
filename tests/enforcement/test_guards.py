"""Every way by which Airflow's own API lets people walk around a question, on the real API app.

The caller is an administrator. Nothing behind the gate starts, and the ledger names who tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup
from fastapi.testclient import TestClient
from sqlalchemy import select

from airflow_approvals.sensors.approval import ApprovalSensor
from airflow_approvals.store.tables import RequestRow
from tests.control.airflow_database import write_dag
from tests.control.airflow_scene import CAROL, Airflow, Run, open_sink, start, task_at
from tests.control.execution_worker import SECRET_KEY

GATE = "g.gate"


@dataclass(frozen=True)
class Admin:
    """Bob, who may do everything in Airflow."""

    client: TestClient

    def call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return self.client.request(method, f"/api/v2{path}", json=body)


def signed_in(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> Iterator[Admin]:
    """Airflow's API app over that database, and Bob."""
    from airflow.api_fastapi.app import create_app, purge_cached_app
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", SECRET_KEY)
    monkeypatch.setenv("AIRFLOW__APPROVALS__DISPATCHER_ENABLED", "False")
    users = "alice:admin,bob:admin,carol:user"
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", users)
    passwords = str(airflow.folder / "passwords.json")
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", passwords)
    purge_cached_app()
    app = create_app(apps="core")
    token = app.state.auth_manager.generate_jwt(SimpleAuthManagerUser(username="bob", role="admin"))
    client = TestClient(app, headers={"Authorization": f"Bearer {token}"}, raise_server_exceptions=False)
    yield Admin(client)
    purge_cached_app()


@pytest.fixture
def admin(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> Iterator[Admin]:
    yield from signed_in(airflow, monkeypatch)


@pytest.fixture
def run(airflow: Airflow) -> Run:
    """A run with a parked gate in a task group, and a task behind it."""
    with DAG("guarded", schedule=None) as dag:
        with TaskGroup("g") as group:
            ApprovalSensor(task_id="gate", action="export", sink="sink-a", manifest={})
        group >> EmptyOperator(task_id="use")
    airflow.do(lambda s: write_dag(s, dag))
    run = airflow.a_run("guarded")
    run.ask(task_id=GATE)
    return run


RUN = "/dags/guarded/dagRuns/{run}"
MARKS: dict[str, tuple[str, str, Any]] = {
    "single": ("PATCH", f"{RUN}/taskInstances/{GATE}", {"new_state": "success"}),
    "single, failed": ("PATCH", f"{RUN}/taskInstances/{GATE}", {"new_state": "failed"}),
    "single, skipped": ("PATCH", f"{RUN}/taskInstances/{GATE}", {"new_state": "skipped"}),
    "by index": ("PATCH", f"{RUN}/taskInstances/{GATE}/-1", {"new_state": "success"}),
    "group": ("PATCH", f"{RUN}/taskGroupInstances/g", {"new_state": "success"}),
    "group, skipped": ("PATCH", f"{RUN}/taskGroupInstances/g", {"new_state": "skipped"}),
    "bulk": (
        "PATCH",
        f"{RUN}/taskInstances",
        {"actions": [{"action": "update", "entities": [{"task_id": GATE, "new_state": "success"}]}]},
    ),
    "bulk over all runs": (
        "PATCH",
        "/dags/~/dagRuns/~/taskInstances",
        {
            "actions": [
                {
                    "action": "update",
                    "entities": [
                        {
                            "dag_id": "guarded",
                            "dag_run_id": "{run}",
                            "task_id": GATE,
                            "map_index": -1,
                            "new_state": "success",
                        }
                    ],
                }
            ]
        },
    ),
    "run": ("PATCH", RUN, {"state": "success"}),
    "run, failed": ("PATCH", RUN, {"state": "failed"}),
    "bulk runs": (
        "PATCH",
        "/dags/guarded/dagRuns",
        {"actions": [{"action": "update", "entities": [{"dag_run_id": "{run}", "state": "success"}]}]},
    ),
}
CLEARS: dict[str, tuple[str, str, Any]] = {
    "tasks": (
        "POST",
        "/dags/guarded/clearTaskInstances",
        {"dry_run": False, "dag_run_id": "{run}", "task_ids": [GATE], "only_failed": False},
    ),
    "run": ("POST", f"{RUN}/clear", {"dry_run": False, "only_failed": False}),
    "bulk": (
        "POST",
        "/dags/guarded/clearDagRuns",
        {"dry_run": False, "only_failed": False, "dag_runs": [{"dag_run_id": "{run}"}]},
    ),
}
DELETES: dict[str, tuple[str, str, Any]] = {
    "task": ("DELETE", f"{RUN}/taskInstances/{GATE}", None),
    "bulk": (
        "PATCH",
        f"{RUN}/taskInstances",
        {"actions": [{"action": "delete", "entities": [{"task_id": GATE}]}]},
    ),
}


def filled(value: Any, run: Run) -> Any:
    """The call, with the id of the run in its place."""
    if isinstance(value, dict):
        return {key: filled(inner, run) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, run) for inner in value]
    return value.replace("{run}", run.run_id) if isinstance(value, str) else value


def do(admin: Admin, run: Run, call: tuple[str, str, Any]) -> None:
    method, path, body = filled(list(call), run)
    answer = admin.call(method, path, body)
    assert answer.status_code < 300, answer.text
    assert "errors" not in answer.text or '"errors":[]' in answer.text, answer.text


def request_of(run: Run) -> RequestRow:
    """The one request of the run."""
    return run.airflow.look(
        lambda s: s.scalars(select(RequestRow).where(RequestRow.run_id == run.run_id)).one()
    )


def overrides_of(run: Run, act: str) -> set[tuple[str, str, str]]:
    found = run.airflow.entries(kind="run_overridden", run_id=run.run_id, act=act)
    return {(entry["actor"], entry["task_id"], entry["channel"]) for entry in found}


@pytest.mark.parametrize("call", MARKS.values(), ids=MARKS.keys())
def test_marking_by_hand_opens_nothing_and_is_entered(
    admin: Admin, run: Run, call: tuple[str, str, Any]
) -> None:
    do(admin, run, call)
    assert {actor for actor, _, _ in overrides_of(run, "mark")} == {"bob"}
    assert run.task(GATE).state != "awaiting_input"
    refusal = start(run)
    assert refusal is not None
    assert refusal.code == "gate_shut"
    note = run.airflow.look(lambda s: task_at(s, run.place("use")).note)
    assert "holds no approval" in note
    assert request_of(run).state == "withdrawn"


@pytest.mark.parametrize("call", DELETES.values(), ids=DELETES.keys())
def test_deleting_the_gate_opens_nothing_and_is_entered(
    admin: Admin, run: Run, call: tuple[str, str, Any]
) -> None:
    do(admin, run, call)
    assert ("bob", GATE, "api") in overrides_of(run, "delete")
    assert start(run) is not None


@pytest.mark.parametrize("call", CLEARS.values(), ids=CLEARS.keys())
def test_clearing_an_approved_gate_takes_its_approval_and_is_entered(
    admin: Admin, run: Run, call: tuple[str, str, Any]
) -> None:
    run.vote(request_of(run))
    run.finish(GATE)
    do(admin, run, call)
    assert {actor for actor, _, _ in overrides_of(run, "clear")} == {"bob"}
    refusal = start(run)
    assert refusal is not None
    assert run.grant().state == "killed"


@pytest.mark.parametrize("call", CLEARS.values(), ids=CLEARS.keys())
def test_clearing_a_gate_at_work_takes_its_approval(
    admin: Admin, run: Run, call: tuple[str, str, Any]
) -> None:
    """Airflow keeps ``max_tries`` then; marking the gate successful afterwards opens nothing."""
    run.vote(request_of(run))
    run.change(GATE, state="running")
    do(admin, run, call)
    assert run.task(GATE).state == "restarting"
    run.change(GATE, state="success")
    assert start(run) is not None
    assert run.grant().state == "killed"


def test_deleting_the_run_is_entered(admin: Admin, run: Run) -> None:
    run.change(GATE, state="failed")
    run.airflow.do(lambda s: setattr(task_at(s, run.place(GATE)).dag_run, "state", "failed"))
    do(admin, run, ("DELETE", RUN, None))
    assert {actor for actor, _, _ in overrides_of(run, "delete")} == {"bob"}


def test_ones_own_question_is_not_answered_on_airflows_route(
    admin: Admin, airflow: Airflow, run: Run
) -> None:
    own = airflow.a_run("guarded", user="bob")
    own.ask(task_id=GATE)
    answer = admin.call(
        "PATCH",
        f"/dags/guarded/dagRuns/{own.run_id}/taskInstances/{GATE}/-1/hitlDetails",
        {"chosen_options": ["Approve"], "params_input": {}},
    )
    assert answer.status_code == 409, "a 403 says nothing on Airflow's page"
    assert own.airflow.entries(kind="vote_refused", run_id=own.run_id)[0]["actor"] == "bob"
    assert "bob" in airflow.look(lambda s: task_at(s, own.place(GATE)).note)
    assert not own.inbox(GATE).response_received


def test_clearing_a_release_that_failed_leaves_the_approval(admin: Admin, run: Run) -> None:
    # Not by bob, who will clear: whoever shapes the run no longer counts among its voters.
    run.vote(request_of(run), CAROL)
    run.finish(GATE)
    assert start(run) is None
    assert open_sink(run) is None
    run.finish("use", "failed")
    method, path, body = CLEARS["tasks"]
    do(admin, run, (method, path, {**body, "task_ids": ["use"]}))
    assert run.grant().state == "bound"
    assert start(run) is None
    assert open_sink(run) is None
