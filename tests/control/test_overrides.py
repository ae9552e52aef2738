"""Which calls of Airflow's API are overrides, and which runs and tasks they name."""

from __future__ import annotations

import pytest

from airflow_approvals.api.inbox_route import place_in
from airflow_approvals.control.overrides import Override, _changes_nothing, _places, recognise
from airflow_approvals.core.models import Place

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
        ("PATCH", f"{RUN}/taskInstances/gate/-1/hitlDetails"),
        ("POST", "/api/v2/dags/d/dagRuns"),
        ("PATCH", "/api/v2/dags/d"),
        ("POST", "/approvals/api/v1/requests/x/votes"),
    ],
)
def test_other_calls_pass(method: str, path: str) -> None:
    assert recognise(method, path) is None


def test_bulk_entities_and_touched_tasks_name_their_own_runs() -> None:
    override = Override("mark", "~", "~", None, -1)
    body = {
        "actions": [{"action": "delete", "entities": [{"dag_id": "a", "dag_run_id": "1", "task_id": "t"}]}]
    }
    answer = {"task_instances": [{"dag_id": "b", "dag_run_id": "2", "task_id": "u", "map_index": 4}]}
    assert set(_places(override, body, answer)) == {Place("a", "1", "t"), Place("b", "2", "u", 4)}


def test_cleared_tasks_are_named_with_their_index() -> None:
    override = Override("clear", "d", None, None, -1)
    body = {"dag_run_id": "r", "task_ids": ["gate", ["use", 2]]}
    assert set(_places(override, body, None)) == {
        Place("d", "r", ""), Place("d", "r", "gate"), Place("d", "r", "use", 2)
    }  # fmt: skip


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
    assert _changes_nothing(Override("clear", "d", "r", None, -1), body) is nothing


def test_bulk_clears_name_their_runs() -> None:
    override = Override("clear", "d", None, None, -1)
    body = {"dag_runs": [{"dag_run_id": "r1"}, {"dag_run_id": "r2", "dag_id": "e"}]}
    assert set(_places(override, body, None)) == {Place("d", "r1", ""), Place("e", "r2", "")}
    assert set(_places(override, {"run_id": "r3"}, None)) == {Place("d", "r3", "")}
