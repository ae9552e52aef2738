"""Which calls of Airflow's API are overrides, and which runs they name."""

from __future__ import annotations

import pytest
from airflow.models.backfill import Backfill
from airflow.models.dagrun import DagRun
from sqlalchemy import update
from sqlalchemy.orm import Session

from airflow_approvals.api.inbox_route import place_in
from airflow_approvals.control.requesters import requesters_of
from airflow_approvals.core.models import Channel, Person, Place
from airflow_approvals.enforcement.override_calls import (
    MOST_NAMED,
    Override,
    changes_nothing,
    recognise,
    runs_named,
)
from airflow_approvals.enforcement.overrides import begin, keep
from tests.control.airflow_scene import CAROL, DAG_ID, Airflow

RUN = "/api/v2/dags/d/dagRuns/r"


@pytest.mark.parametrize(
    ("method", "path", "act", "task"),
    [
        ("PATCH", f"{RUN}/taskInstances/gate", "mark", "gate"),
        ("PATCH", f"/sub{RUN}/taskInstances/gate", "mark", "gate"),
        ("PATCH", f"{RUN}/taskInstances/gate/3", "mark", "gate"),
        ("PATCH", f"{RUN}/taskInstances", "mark", None),
        ("PATCH", f"{RUN}/taskGroupInstances/group", "mark", "group"),
        ("PATCH", RUN, "mark", None),
        ("PATCH", "/api/v2/dags/d/dagRuns", "mark", None),
        ("DELETE", f"{RUN}/taskInstances/gate", "delete", "gate"),
        ("DELETE", RUN, "delete", None),
        ("POST", "/api/v2/dags/d/clearTaskInstances", "clear", None),
        ("POST", f"{RUN}/clear", "clear", None),
        ("POST", "/api/v2/dags/d/clearDagRuns", "clear", None),
        ("PATCH", "/api/v2/dags/d", "unpause", None),
        ("POST", f"{RUN}/taskInstances/mask/xcomEntries", "edit", "mask"),
        ("PATCH", f"{RUN}/taskInstances/mask/xcomEntries/a/b", "edit", "mask"),
        ("DELETE", f"{RUN}/taskInstances/mask/xcomEntries/return_value", "edit", "mask"),
        ("PUT", f"{RUN}/taskInstances/mask/state-store/k", "edit", "mask"),
        ("PATCH", f"{RUN}/taskInstances/mask/state-store/k", "edit", "mask"),
        ("DELETE", f"{RUN}/taskInstances/mask/state-store", "edit", "mask"),
        ("PATCH", f"{RUN}/taskInstances/other/-1/hitlDetails", "edit", "other"),
    ],
)
def test_every_way_to_override_is_recognised(method: str, path: str, act: str, task: str | None) -> None:
    found = recognise(method, path)
    assert found is not None
    assert (found.act, found.dag_id, found.task_id) == (act, "d", task)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{RUN}/taskInstances/gate"),
        ("PATCH", f"{RUN}/taskInstances/gate/dry_run"),
        ("PATCH", f"{RUN}/taskInstances/gate/3/dry_run"),
        ("GET", f"{RUN}/taskInstances/mask/xcomEntries/k"),
        ("PUT", "/api/v2/assets/x/state-store/k"),
        ("GET", "/api/v2/dags/d/dagRuns"),
        ("POST", "/api/v2/backfills/dry_run"),
        ("POST", "/approvals/api/v1/requests/x/votes"),
    ],
)
def test_other_calls_pass(method: str, path: str) -> None:
    assert recognise(method, path) is None


@pytest.mark.parametrize(
    ("override", "body", "runs"),
    [
        (Override("mark", "d", "r", "t", -1), {"new_state": "success"}, {("d", "r")}),
        (Override("mark", "d", "r", "t", -1), {"include_past": "on"}, {("d", "r"), ("d", "")}),
        (Override("mark", "d", "r", None, -1), {"actions": [{"entities": ["t", {"dag_id": "e"}]}]},
         {("d", "r"), ("e", "r")}),
        (Override("mark", "~", "~", None, -1),
         {"actions": [{"entities": [{"dag_id": "a", "dag_run_id": "1", "include_future": 1}]}]},
         {("a", "1"), ("a", "")}),
        (Override("mark", "d", None, None, -1), {"actions": [{"entities": ["r1", {"dag_run_id": "r2"}]}]},
         {("d", "r1"), ("d", "r2")}),
        (Override("clear", "d", None, None, -1), {"dag_run_id": "r"}, {("d", "r")}),
        (Override("clear", "d", None, None, -1), {"run_id": "r3"}, {("d", "r3")}),
        (Override("clear", "d", None, None, -1), {"start_date": "x"}, {("d", "")}),
        (Override("clear", "d", None, None, -1),
         {"dag_runs": [{"dag_run_id": "r1"}, {"dag_run_id": "r2", "dag_id": "e"}]},
         {("d", "r1"), ("e", "r2")}),
        (Override("delete", "d", None, None, -1), {}, {("d", "")}),
        (Override("mark", "d", "r", None, -1),
         {"actions": [{"entities": [{"dag_run_id": n} for n in ("x" * 251, "a\x00", "\ud800")]}]},
         {("d", "r")}),
    ],
)  # fmt: skip
def test_a_call_names_the_runs_it_may_shape(override: Override, body: dict, runs: set) -> None:
    assert runs_named(override, body) == runs


def test_a_call_that_names_very_many_runs_is_held_to_name_their_dags() -> None:
    body = {"dag_runs": [{"dag_run_id": f"r{n}"} for n in range(MOST_NAMED + 1)]}
    assert runs_named(Override("clear", "d", None, None, -1), body) == {("d", "")}


def test_a_delete_names_its_index_in_the_query() -> None:
    found = recognise("DELETE", f"{RUN}/taskInstances/gate", b"map_index=2&map_index=3")
    assert found is not None
    assert found.map_index == 3


@pytest.mark.parametrize(
    ("method", "path", "override"),
    [
        ("PATCH", "/api/v2/dags", Override("unpause", "~", None, None, -1)),
        ("POST", "/api/v2/assets/events", Override("feed", "", None, None, -1)),
        ("PUT", "/api/v2/assets/5/state-store/a/b", Override("edit", "", None, None, -1, 5)),
        ("DELETE", "/api/v2/assets/5/state-store", Override("edit", "", None, None, -1, 5)),
    ],
)
def test_calls_that_name_no_run_are_recognised_too(method: str, path: str, override: Override) -> None:
    assert recognise(method, path) == override


@pytest.mark.parametrize("spelling", ["-1", "-1.0", " -1", "-1 ", "-01"])
def test_an_index_is_read_as_airflow_reads_it(spelling: str) -> None:
    """Airflow's API takes each of these for -1; a stricter pattern here would be a way around."""
    found = recognise("PATCH", f"{RUN}/taskInstances/gate/{spelling}")
    assert found is not None
    assert found.map_index == -1
    assert place_in("PATCH", f"{RUN}/taskInstances/gate/{spelling}/hitlDetails") == Place(
        "d", "r", "gate", -1
    )


@pytest.mark.parametrize("spelling", ["x", "1.5", "9" * 5000])
def test_an_index_that_airflow_refuses_is_airflows_to_refuse(spelling: str) -> None:
    assert place_in("PATCH", f"{RUN}/taskInstances/gate/{spelling}/hitlDetails") is None


@pytest.mark.parametrize(
    ("body", "nothing"),
    [
        ({}, True),
        ({"dry_run": True}, True),
        ({"dry_run": "true"}, True),
        ({"dry_run": False}, False),
        ({"dry_run": "false"}, False),
        ({"dry_run": 0}, False),
        ({"dry_run": "off"}, False),
    ],
)
def test_a_rehearsal_is_told_as_airflow_tells_it(body: dict, nothing: bool) -> None:
    assert changes_nothing(Override("clear", "d", "r", None, -1), body) is nothing


@pytest.mark.parametrize(
    ("body", "nothing"),
    [({"is_paused": False}, False), ({"is_paused": "false"}, False), ({"is_paused": True}, True), ({}, True)],
)
def test_only_unpausing_a_dag_shapes_its_runs(body: dict, nothing: bool) -> None:
    assert changes_nothing(Override("unpause", "d", None, None, -1), body) is nothing


def test_whoever_unpauses_a_gated_dag_is_kept_for_its_next_run(airflow: Airflow) -> None:
    airflow.a_run()
    override = recognise("PATCH", f"/api/v2/dags/{DAG_ID}")
    assert override is not None
    keep(override, CAROL, Channel.UI, {"is_paused": False}, {})
    run = airflow.a_run(user=None)
    found = airflow.look(lambda s: requesters_of(s, run.place()))
    assert found.names == {"carol"}
    (entry,) = airflow.entries(kind="run_overridden", actor="carol")
    assert (entry["dag_id"], entry["details"]["act"]) == (DAG_ID, "unpause")


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (f"/api/v2/dags/{DAG_ID}/dagRuns", {"dag_id": DAG_ID}),
        ("/api/v2/assets/5/materialize", {"dag_id": DAG_ID}),
    ],
)
def test_whoever_starts_a_run_is_kept_by_id_and_nothing_is_entered(
    airflow: Airflow, path: str, answer: dict
) -> None:
    """An administrator could be called otherwise by the time the gate asks."""
    run = airflow.a_run(user="mallory")
    override = recognise("POST", path)
    assert override is not None
    person = Person("5", "mallory")
    intent = begin(override, person, {"conf": {}})
    assert intent is not None
    keep(override, person, Channel.UI, {}, {**answer, "dag_run_id": run.run_id}, intent=intent)
    found = airflow.look(lambda s: requesters_of(s, run.place()))
    assert found.names == {"5", "mallory"}
    assert not found.unattributed
    assert airflow.entries(kind="run_overridden") == []


def test_whoever_starts_a_backfill_is_kept_for_the_runs_it_makes(airflow: Airflow) -> None:
    run, other = airflow.a_run(user=None), airflow.a_run(user=None)

    def backfill(session: Session) -> int:
        row = Backfill(dag_id=DAG_ID, from_date=airflow.now, to_date=airflow.now, dag_run_conf={})
        session.add(row)
        session.flush()
        session.execute(update(DagRun).where(DagRun.run_id == run.run_id).values(backfill_id=row.id))
        return row.id

    override = recognise("POST", "/api/v2/backfills")
    assert override is not None
    made = {"id": airflow.do(backfill), "dag_id": DAG_ID}
    keep(override, Person("5", "mallory"), Channel.UI, {}, made)
    names = [airflow.look(lambda s, one=one: requesters_of(s, one.place())).names for one in (run, other)]
    assert names == [{"5", "mallory"}, frozenset()]
