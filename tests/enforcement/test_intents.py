"""Who shapes a run is written down before Airflow is asked, and what Airflow did takes its place."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.models.asset import AssetEvent
from airflow.models.dagrun import DagRun
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from airflow_approvals.control.requesters import requesters_of
from airflow_approvals.core.models import Channel, Person
from airflow_approvals.enforcement import overrides
from airflow_approvals.enforcement.override_calls import Override, recognise
from airflow_approvals.store.tables import ActorRow
from tests.control.airflow_database import write_dag
from tests.control.airflow_scene import ALICE, CAROL, DAG_ID, Airflow, Run
from tests.seams.test_airflow_seams_people import asset_id, feed

MALLORY = Person("mallory", "mallory")
MARK = {"new_state": "success"}


@pytest.fixture(params=["airflow", "postgres_airflow"])
def either(request: pytest.FixtureRequest) -> Iterator[Airflow]:
    return request.getfixturevalue(request.param)


def of(run: Run) -> set[str]:
    return set(run.airflow.look(lambda s: requesters_of(s, run.place())).names)


def rows(run: Run) -> list[tuple[str, str]]:
    found = select(ActorRow).where(ActorRow.dag_id == run.dag_id, ActorRow.run_id == run.run_id)
    return [(row.task_id, row.act) for row in run.airflow.look(lambda s: s.scalars(found).all())]


def marking(run: Run, task_id: str | None = "gate") -> Override:
    return Override("mark", run.dag_id, run.run_id, task_id, -1)


def call(
    override: Override, body: Any, answer: Any, *, person: Person = CAROL, **more: Any
) -> overrides.Intent:
    """Do as the middleware does when Airflow answers with success."""
    intent = overrides.begin(override, person, body)
    assert intent is not None
    overrides.keep(override, person, Channel.API, body, answer, intent=intent, **more)
    return intent


def test_an_intent_counts_before_airflow_has_answered_and_is_taken_back_when_it_refuses(
    either: Airflow,
) -> None:
    run = either.a_run()
    intent = overrides.begin(marking(run), CAROL, MARK)
    assert intent is not None
    assert of(run) == {"alice", "carol"}
    overrides.take_back(intent)
    assert of(run) == {"alice"}
    assert either.kinds(run) == []


def test_what_airflow_did_takes_the_place_of_the_intent(either: Airflow) -> None:
    run = either.a_run()
    call(marking(run), MARK, {"task_instances": []})
    assert rows(run) == [("gate", "mark")]
    (entry,) = either.entries(kind="run_overridden", run_id=run.run_id)
    assert (entry["actor"], entry["task_id"], entry["details"]["act"]) == ("carol", "gate", "mark")


def test_a_name_that_no_task_can_have_hides_nobody(either: Airflow) -> None:
    """One entity with an over-long name used to roll the whole record back on PostgreSQL."""
    run = either.a_run()
    entities = [{"task_id": name, "new_state": "success"} for name in ("gate", "x" * 300, "nul\x00")]
    answer = {"update": {"success": [f"{DAG_ID}.{run.run_id}.gate[-1]"], "errors": [{"status_code": 404}]}}
    call(marking(run, None), {"actions": [{"action": "update", "entities": entities}]}, answer)
    assert of(run) == {"alice", "carol"}
    (entry,) = either.entries(kind="run_overridden", run_id=run.run_id)
    assert (entry["actor"], entry["task_id"]) == ("carol", "gate")


def test_a_record_that_cannot_be_completed_leaves_the_intent(postgres_airflow: Airflow) -> None:
    run = postgres_airflow.a_run()
    intent = overrides.begin(marking(run), CAROL, MARK)
    assert intent is not None
    shown = {"dag_id": DAG_ID, "dag_run_id": run.run_id, "task_id": "x" * 300, "map_index": -1}
    with pytest.raises(DBAPIError):
        overrides.keep(
            marking(run), CAROL, Channel.API, MARK, {"task_instances": [shown]}, intent=intent
        )  # fmt: skip
    assert of(run) == {"alice", "carol"}


def test_an_intent_that_cannot_be_written_is_a_fault_before_the_call(postgres_airflow: Airflow) -> None:
    run = postgres_airflow.a_run()
    with pytest.raises(DBAPIError):
        overrides.begin(marking(run), Person("1", "n" * 300), MARK)


def test_entities_that_airflow_refused_leave_no_trace(airflow: Airflow) -> None:
    """Rights on one DAG used to be enough to kill the grants of any other."""
    run = airflow.a_run()
    run.approve()
    before = airflow.kinds(run)
    entity = {"dag_id": DAG_ID, "dag_run_id": run.run_id, "task_id": "gate"}
    body = {"actions": [{"action": "delete", "entities": [entity]}]}
    answer = {"delete": {"success": [], "errors": [{"error": "not authorized", "status_code": 403}]}}
    call(Override("mark", "their_own", "~", None, -1), body, answer, person=MALLORY)
    assert run.grant().state == "live"
    assert airflow.kinds(run) == before
    assert of(run) == {"alice"}


def test_a_bulk_delete_still_kills_the_grant(airflow: Airflow) -> None:
    run = airflow.a_run()
    run.approve()
    body = {"actions": [{"action": "delete", "entities": ["gate"]}]}
    answer = {"delete": {"success": [f"{DAG_ID}.{run.run_id}.gate[-1]"], "errors": []}}
    call(marking(run, None), body, answer)
    assert run.grant().state == "killed"
    assert of(run) == {"alice", "carol"}


def test_whoever_marks_in_a_run_without_a_gate_shapes_the_run_it_feeds(airflow: Airflow) -> None:
    parent, child = airflow.a_run("ungated"), airflow.a_run(user=None)
    feed(child, parent)
    call(Override("mark", "ungated", parent.run_id, "use", -1), MARK, {"task_instances": []})
    assert of(child) == {"alice", "carol"}
    assert airflow.entries(kind="run_overridden", dag_id="ungated") == [], "the ledger is of gated runs"


def test_a_mark_that_goes_on_into_the_past_is_held_against_the_runs_that_are_there(airflow: Airflow) -> None:
    earlier, run = airflow.a_run(), airflow.a_run()
    call(marking(run), {**MARK, "include_past": True}, {"task_instances": []})
    assert of(earlier) == {"alice", "carol"}
    airflow.now = datetime.now(UTC)
    assert of(airflow.a_run()) == {"alice"}, "it came later"


def test_a_run_is_gated_by_the_version_that_it_runs_by(airflow: Airflow) -> None:
    run = airflow.a_run()
    with DAG(DAG_ID, schedule=None) as without_gate:
        EmptyOperator(task_id="use")
    airflow.do(lambda s: write_dag(s, without_gate))
    call(marking(run), MARK, {"task_instances": []})
    assert airflow.kinds(run) == ["run_overridden"]


def test_a_deleted_run_was_gated_all_the_same(airflow: Airflow) -> None:
    run = airflow.a_run()
    override = Override("delete", DAG_ID, run.run_id, None, -1)
    intent = overrides.begin(override, CAROL, None)
    assert intent is not None
    assert intent.gated == {(DAG_ID, run.run_id)}


def test_a_grant_does_not_outlive_its_dag(airflow: Airflow) -> None:
    """A scheduled run of a DAG that comes back has the same name."""
    run = airflow.a_run()
    run.approve()
    call(Override("delete", DAG_ID, None, None, -1), None, None)
    assert run.grant().state == "killed"


@pytest.mark.parametrize("spelling", ["5", 5.0, " 5"])
def test_an_asset_event_made_by_call_is_its_makers_however_the_id_is_spelt(
    airflow: Airflow, spelling: Any
) -> None:
    feed(airflow.a_run(), None)
    wanted = asset_id(airflow)
    body = {"asset_id": wanted if spelling == 5.0 else str(spelling).replace("5", str(wanted))}
    run = airflow.a_run(user=None)
    override = recognise("POST", "/api/v2/assets/events")
    assert override is not None
    intent = overrides.begin(override, CAROL, body)
    assert intent is not None
    feed(run, None)
    assert of(run) == {"carol"}, "should the server die now, they stay"
    event = airflow.look(lambda s: s.scalars(select(AssetEvent.id).order_by(AssetEvent.id.desc())).first())
    overrides.keep(override, CAROL, Channel.API, body, {"id": event}, intent=intent)
    assert of(run) == {"carol"}
    other = airflow.a_run(user=None)
    feed(other, None)
    assert of(other) == set(), "another event of the same asset is not theirs"


@pytest.mark.parametrize("spelling", [False, 0, "off", "no"])
def test_whoever_unpauses_many_dags_at_once_is_kept_for_their_next_runs(
    airflow: Airflow, spelling: Any
) -> None:
    airflow.a_run()
    override = recognise("PATCH", "/api/v2/dags")
    assert override is not None
    call(override, {"is_paused": spelling}, {"dags": [], "total_entries": 3})
    run = airflow.a_run(user=None)
    assert of(run) == {"carol"}
    (entry,) = airflow.entries(kind="run_overridden", actor="carol")
    assert (entry["dag_id"], entry["details"]["act"]) == ("~", "unpause")


def test_whoever_edits_what_is_stored_with_an_asset_shapes_the_runs_that_may_read_it(
    airflow: Airflow,
) -> None:
    with DAG("reader", schedule=None) as reader:
        EmptyOperator(task_id="use", inlets=[Asset("watermark")])
    airflow.do(lambda s: write_dag(s, reader))
    there, elsewhere = airflow.a_run("reader"), airflow.a_run()
    override = recognise("PUT", f"/api/v2/assets/{asset_id(airflow)}/state-store/k")
    assert override is not None
    call(override, {"value": 1}, None)
    after = airflow.a_run("reader")
    assert (of(there), of(after)) == ({"alice", "carol"}, {"alice", "carol"})
    airflow.now = datetime.now(UTC)
    assert of(airflow.a_run("reader")) == {"alice"}
    assert of(elsewhere) == {"alice"}


def test_whoever_edits_an_xcom_of_a_gated_run_is_in_the_set_and_in_the_ledger(either: Airflow) -> None:
    run = either.a_run()
    path = f"/api/v2/dags/{DAG_ID}/dagRuns/{run.run_id}/taskInstances/aside/xcomEntries/return_value"
    override = recognise("PATCH", path)
    assert override is not None
    call(override, {"value": "x"}, {"key": "return_value"})
    assert of(run) == {"alice", "carol"}
    (entry,) = either.entries(kind="run_overridden", run_id=run.run_id)
    assert (entry["actor"], entry["task_id"], entry["details"]["act"]) == ("carol", "aside", "edit")


def test_a_rehearsal_is_no_intent(airflow: Airflow) -> None:
    assert overrides.begin(Override("clear", DAG_ID, "r", None, -1), ALICE, {"dry_run": "true"}) is None
    assert airflow.look(lambda s: s.scalars(select(DagRun.id).limit(1)).first()) is None
