"""What a call has done is what Airflow says, not what its body wanted."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_approvals.core.models import Place
from airflow_approvals.enforcement.override_answers import Act, acts_done
from airflow_approvals.enforcement.override_calls import Override

BULK = Override("mark", "d", "r", None, -1)
RUNS = Override("mark", "d", None, None, -1)
CLEAR = Override("clear", "d", None, None, -1)


def done(
    override: Override, body: dict[str, Any], answer: Any, allowed: tuple[str, ...] = ("d",)
) -> set[Act]:
    return acts_done(override, body, answer, lambda dag_id, method: dag_id in allowed)


def bulk(*entities: Any, action: str = "update") -> dict[str, Any]:
    return {"actions": [{"action": action, "entities": list(entities)}]}


def said(*success: str, action: str = "update") -> dict[str, Any]:
    return {action: {"success": list(success), "errors": []}}


def test_of_a_bulk_call_only_what_succeeded_was_done() -> None:
    body = bulk({"task_id": "a", "new_state": "success"}, {"task_id": "b", "new_state": "success"})
    assert done(BULK, body, said("d.r.a[-1]")) == {("mark", Place("d", "r", "a"))}
    assert done(BULK, body, said()) == set()
    assert done(BULK, body, None) == set()


def test_an_entity_without_an_index_means_all_of_them() -> None:
    body = bulk("a", {"task_id": "b", "map_index": 1}, action="delete")
    answer = said("d.r.a[0]", "d.r.a[1]", "d.r.b[0]", "d.r.b[1]", action="delete")
    assert done(BULK, body, answer) == {
        ("delete", Place("d", "r", "a", 0)), ("delete", Place("d", "r", "a", 1)),
        ("delete", Place("d", "r", "b", 1)),
    }  # fmt: skip


def test_a_note_marks_nothing() -> None:
    assert done(BULK, bulk({"task_id": "a", "note": "x"}), said("d.r.a[-1]")) == set()


def test_runs_are_named_whole() -> None:
    body = bulk({"dag_run_id": "r[3]", "state": "failed"}, {"dag_run_id": "r", "state": "failed"})
    assert done(RUNS, body, said("d.r[3]")) == {("mark", Place("d", "r[3]", ""))}


def test_a_name_that_fits_two_runs_is_believed_of_dags_that_the_caller_may_change() -> None:
    """Dots are allowed in every part: rights on ``d`` must not speak for ``d.export``."""
    mine = {"dag_id": "d", "dag_run_id": "export.r", "task_id": "gate", "map_index": -1}
    theirs = {"dag_id": "d.export", "dag_run_id": "r", "task_id": "gate", "map_index": -1}
    answer = said("d.export.r.gate[-1]", action="delete")
    override = Override("mark", "~", "~", None, -1)
    body = bulk(mine, theirs, action="delete")
    assert done(override, body, answer) == {("delete", Place("d", "export.r", "gate"))}
    assert done(override, bulk(theirs, action="delete"), answer, ()) == {
        ("delete", Place("d.export", "r", "gate"))
    }


def test_a_mark_that_goes_on_into_other_runs_is_one_on_the_dag() -> None:
    entity = {"task_id": "a", "new_state": "success", "include_past": "yes"}
    assert done(BULK, bulk(entity), said("d.r.a[-1]")) == {
        ("mark", Place("d", "r", "a")), ("mark", Place("d", "", "")),
    }  # fmt: skip
    one = Override("mark", "d", "r", "a", -1)
    shown = {"task_instances": [{"dag_id": "d", "dag_run_id": "r", "task_id": "a", "map_index": 4}]}
    assert done(one, {"new_state": "success", "include_future": True}, shown) == {
        ("mark", Place("d", "r", "a")), ("mark", Place("d", "r", "a", 4)), ("mark", Place("d", "", "")),
    }  # fmt: skip


def test_cleared_is_what_airflow_shows_and_not_what_the_body_names() -> None:
    body = {"dag_run_id": "r", "task_ids": ["gate", ["use", 2]]}
    shown = {"task_instances": [{"dag_id": "d", "dag_run_id": "r2", "task_id": "use", "map_index": 2}]}
    assert done(CLEAR, body, shown) == {("clear", Place("d", "r2", "use", 2))}
    assert done(CLEAR, body, {"task_instances": []}) == set()
    assert done(CLEAR, {"run_id": "r3"}, {"dag_runs_cleared": 1}) == {("clear", Place("d", "r3", ""))}
    runs = {"dag_runs": [{"dag_id": "d", "dag_run_id": "r1"}]}
    assert done(CLEAR, {"partition_key": "p"}, runs) == {("clear", Place("d", "r1", ""))}


@pytest.mark.parametrize(("total", "also"), [(1, set()), (7, {("unpause", Place("~", "", ""))})])
def test_many_dags_unpaused_at_once_are_those_of_the_page_or_all(total: int, also: set[Act]) -> None:
    override = Override("unpause", "~", None, None, -1)
    answer = {"dags": [{"dag_id": "d"}], "total_entries": total}
    assert done(override, {"is_paused": False}, answer) == {("unpause", Place("d", "", "")), *also}


def test_an_asset_event_is_known_by_its_id() -> None:
    override = Override("feed", "", None, None, -1, 5)
    assert done(override, {"asset_id": "5"}, {"id": 17, "asset_id": 5}) == {
        ("feed", Place("", "event 17", ""))
    }
