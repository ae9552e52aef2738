"""Whoever shapes a run through Airflow's real API app is in its requester set, however they spell it.

The caller is Bob, an administrator; Alice triggered the run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.models.asset import AssetEvent
from airflow.models.dag import DagModel
from airflow.models.log import Log
from airflow.models.xcom import XComModel
from sqlalchemy import delete, select, update

from airflow_approvals.control.requesters import requesters_of
from airflow_approvals.store.tables import ActorRow
from tests.control.airflow_scene import DAG_ID, Airflow, Run, task_at
from tests.control.test_requesters import automatic
from tests.enforcement.test_guards import Admin, signed_in
from tests.seams.test_airflow_seams_people import asset_id, feed


@pytest.fixture
def admin(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> Iterator[Admin]:
    yield from signed_in(airflow, monkeypatch)


@pytest.fixture
def run(airflow: Airflow) -> Run:
    return airflow.a_run()


def of(run: Run) -> set[str]:
    """The requester set by our own record, without Airflow's log."""
    run.airflow.do(lambda s: s.execute(delete(Log)))
    return set(run.airflow.look(lambda s: requesters_of(s, run.place())).names)


def on(run: Run, rest: str = "") -> str:
    return f"/dags/{run.dag_id}/dagRuns/{run.run_id}{rest}"


def send(admin: Admin, method: str, path: str, text: str, content_type: str = "application/json") -> Any:
    headers = {"Content-Type": content_type}
    return admin.client.request(method, f"/api/v2{path}", content=text, headers=headers)


@pytest.mark.parametrize("database", ["airflow", "postgres_airflow"])
def test_an_over_long_name_in_a_bulk_call_hides_nobody(
    database: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow: Airflow = request.getfixturevalue(database)
    run = airflow.a_run()
    entities = [{"task_id": name, "new_state": "success"} for name in ("aside", "x" * 300)]
    actions = [{"action": "update", "entities": [entity]} for entity in entities]
    for admin in signed_in(airflow, monkeypatch):
        answer = admin.call("PATCH", on(run, "/taskInstances"), {"actions": actions})
        assert answer.json()["update"]["success"] == [f"{DAG_ID}.{run.run_id}.aside[-1]"], answer.text
    assert run.task("aside").state == "success"
    assert of(run) == {"alice", "bob"}
    (entry,) = airflow.entries(kind="run_overridden", run_id=run.run_id)
    assert (entry["actor"], entry["task_id"]) == ("bob", "aside")


def test_a_call_that_airflow_refuses_leaves_nobody(admin: Admin, run: Run) -> None:
    assert admin.call("PATCH", on(run, "/taskInstances/nowhere"), {"new_state": "success"}).status_code == 404
    assert admin.call("PATCH", on(run), {"state": "no such state"}).status_code == 422
    assert of(run) == {"alice"}


def test_without_a_token_the_answer_is_airflows(admin: Admin, run: Run) -> None:
    path = f"/api/v2{on(run, '/taskInstances/aside')}"
    for headers in ({}, {"Authorization": "Bearer forged"}):
        reading = admin.client.get(path, headers={"Authorization": "", **headers})
        marking = admin.client.patch(
            path, json={"new_state": "success"}, headers={"Authorization": "", **headers}
        )
        assert (marking.status_code, marking.json()) == (reading.status_code, reading.json())
        assert marking.status_code in (401, 403)


@pytest.mark.parametrize(
    ("method", "rest", "body", "status"),
    [
        ("POST", "/xcomEntries", {"key": "new", "value": "x"}, 201),
        ("PATCH", "/xcomEntries/old", {"value": "x"}, 200),
        ("DELETE", "/xcomEntries/old", None, 204),
        ("PUT", "/state-store/some/key", {"value": "x"}, 204),
        ("DELETE", "/state-store", None, 204),
    ],
)
def test_whoever_changes_what_a_task_reads_shapes_the_run(
    admin: Admin, run: Run, method: str, rest: str, body: Any, status: int
) -> None:
    old = {"key": "old", "value": "v", "dag_id": DAG_ID, "task_id": "aside", "run_id": run.run_id}
    run.airflow.do(lambda s: XComModel.set(**old, session=s))
    answer = admin.call(method, on(run, f"/taskInstances/aside{rest}"), body)
    assert answer.status_code == status, answer.text
    assert of(run) == {"alice", "bob"}
    (entry,) = run.airflow.entries(kind="run_overridden", run_id=run.run_id)
    assert (entry["actor"], entry["task_id"], entry["details"]["act"]) == ("bob", "aside", "edit")


def test_whoever_answers_another_tasks_question_shapes_the_run(admin: Admin, run: Run) -> None:
    from airflow.models.hitl import HITLDetail

    def ask(session: Any) -> None:
        ti = task_at(session, run.place("aside"))
        ti.state = "awaiting_input"
        session.add(HITLDetail(ti_id=ti.id, options=["ok"], subject="?", params={}))

    run.airflow.do(ask)
    answer = admin.call("PATCH", on(run, "/taskInstances/aside/-1/hitlDetails"), {"chosen_options": ["ok"]})
    assert answer.status_code == 200, answer.text
    assert of(run) == {"alice", "bob"}
    assert [entry["details"]["act"] for entry in run.airflow.entries(run_id=run.run_id)] == ["edit"]


@pytest.mark.parametrize(
    ("spelling", "content_type"),
    [("{}", "application/json"), ('"{}"', "application/json"), ("{}", "application/x+json")],
)
def test_whoever_makes_an_asset_event_is_known_by_it(
    admin: Admin, airflow: Airflow, spelling: str, content_type: str
) -> None:
    feed(airflow.a_run(), None)
    text = json.dumps({"asset_id": 0}).replace("0", spelling.format(asset_id(airflow)))
    answer = send(admin, "POST", "/assets/events", text, content_type)
    assert answer.status_code == 200, answer.text
    run = airflow.a_run(user=None)
    event = airflow.look(lambda s: s.get(AssetEvent, answer.json()["id"]))
    consume(run, event)
    assert of(run) == {"bob"}


def consume(run: Run, event: AssetEvent | None) -> None:
    from airflow.models.dagrun import DagRun

    def work(session: Any) -> None:
        row = session.scalars(select(DagRun).where(DagRun.run_id == run.run_id)).one()
        row.consumed_asset_events.append(session.merge(event))

    run.airflow.do(work)


@pytest.mark.parametrize("spelling", ["false", "0", '"off"'])
@pytest.mark.parametrize("path", ["/dags?dag_id_pattern=%25&limit=1", f"/dags/{DAG_ID}"])
def test_whoever_unpauses_is_kept_for_the_next_run(
    admin: Admin, airflow: Airflow, path: str, spelling: str
) -> None:
    automatic(airflow.a_run(user=None))
    airflow.do(lambda s: s.execute(update(DagModel).values(is_paused=True)))
    answer = send(admin, "PATCH", path, f'{{"is_paused": {spelling}}}', "application/x+json")
    assert answer.status_code == 200, answer.text
    assert airflow.look(lambda s: s.get(DagModel, DAG_ID)).is_paused is False
    assert of(automatic(airflow.a_run(user=None))) == {"bob"}


def test_a_clear_that_is_a_rehearsal_for_airflows_log_only_is_recorded(admin: Admin, run: Run) -> None:
    run.start("aside")
    run.finish("aside")
    body = {"dry_run": "false", "dag_run_id": run.run_id, "task_ids": ["aside"], "only_failed": False}
    assert admin.call("POST", f"/dags/{DAG_ID}/clearTaskInstances", body).status_code == 200
    assert of(run) == {"alice", "bob"}


def test_rows_of_intents_do_not_pile_up(admin: Admin, run: Run) -> None:
    for state in ("success", "failed"):
        assert admin.call("PATCH", on(run, "/taskInstances/aside"), {"new_state": state}).status_code == 200
    found = select(ActorRow).where(ActorRow.run_id == run.run_id)
    assert [row.task_id for row in run.airflow.look(lambda s: s.scalars(found).all())] == ["aside", "aside"]
