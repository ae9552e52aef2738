"""What a task does to runs by its own token: whoever shaped its run has shaped the other, if it was done."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import select

from airflow_approvals.control.requesters import BY_TASK, requesters_of
from airflow_approvals.enforcement.parents import keep_parents
from airflow_approvals.store.tables import ActorRow
from tests.control.airflow_scene import CAROL, Airflow, Run
from tests.control.execution_worker import Worker
from tests.control.test_requesters import by_command, shape


@pytest.fixture
def run(airflow: Airflow) -> Run:
    return airflow.a_run()


def test_a_task_that_clears_a_gated_run_brings_its_people_into_the_requester_set(
    newest: Worker, run: Run
) -> None:
    by = run.airflow.a_run(user="dave")
    by.start("aside")
    run.park()
    answer = newest.clear(by, run)
    assert answer.status_code < 300, answer.text
    (entry,) = run.airflow.entries(kind="run_overridden", run_id=run.run_id)
    assert (entry["actor"], entry["details"]["act"]) == ("dave", "clear")
    assert "dave" in run.ask().requesters


def test_a_task_that_clears_a_run_hands_on_everybody_who_shaped_its_own(newest: Worker, run: Run) -> None:
    by = run.airflow.a_run(user="dave")
    by.start("aside")
    shape(by, CAROL, "mark")
    assert newest.clear(by, run).status_code < 300
    found = run.airflow.look(lambda s: requesters_of(s, run.place()))
    assert found.names == {"alice", "carol", "dave"}


def test_a_clear_that_airflow_refuses_bars_nobody_and_is_no_entry(newest: Worker, run: Run) -> None:
    by = run.airflow.a_run(user="dave")
    by.start("aside")
    nowhere = Run(run.airflow, run.dag_id, f"manual__{uuid4().hex}")
    assert newest.clear(by, nowhere).status_code == 404
    until(lambda: shapers(run.airflow, nowhere) == [])
    assert run.airflow.kinds(nowhere) == []


def shapers(airflow: Airflow, run: Run) -> list[tuple[str, str]]:
    rows = airflow.look(lambda s: s.scalars(select(ActorRow).where(ActorRow.run_id == run.run_id)).all())
    return sorted((row.person_id, row.act) for row in rows)


def write_xcom(worker: Worker, by: Run, target: Run, method: str = "POST") -> httpx.Response:
    path = f"/xcoms/{target.dag_id}/{target.run_id}/use/some/key"
    return worker.call(by.ti_id("aside"), method, path, "forged" if method == "POST" else None)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_task_that_writes_into_another_run_hands_on_who_shaped_its_own(
    worker: Worker, run: Run, method: str
) -> None:
    by = run.airflow.a_run(user="dave")
    by.start("aside")
    shape(by, CAROL, "clear")
    answer = write_xcom(worker, by, run, method)
    assert answer.status_code in (200, 201), answer.text
    assert shapers(run.airflow, run) == [("carol", "edit"), ("dave", "edit")]
    (entry,) = run.airflow.entries(kind="run_overridden", run_id=run.run_id)
    assert (entry["actor"], entry["task_id"], entry["details"]["act"]) == ("dave", "use", "edit")
    assert entry["details"]["state"] == "task aside of gated"


def test_a_task_of_a_run_of_nobodys_stands_for_its_people(newest: Worker, run: Run) -> None:
    by = run.airflow.a_run(user=None)
    by.start("aside")
    assert write_xcom(newest, by, run).status_code == 201
    assert shapers(run.airflow, run) == [("task aside of gated", "edit")]


def test_a_task_that_writes_into_its_own_run_leaves_no_trace(newest: Worker, run: Run) -> None:
    run.start("aside")
    assert write_xcom(newest, run, run).status_code == 201
    assert (shapers(run.airflow, run), run.airflow.kinds(run)) == ([], [])


def test_a_write_that_airflow_refuses_bars_nobody(newest: Worker, run: Run) -> None:
    by = run.airflow.a_run(user="dave")
    by.start("aside")
    nowhere = Run(run.airflow, run.dag_id, f"manual__{uuid4().hex}")
    assert write_xcom(newest, by, nowhere).status_code == 404
    until(lambda: shapers(run.airflow, nowhere) == [])


def test_a_run_triggered_from_one_that_a_command_started_is_nobodys_either(newest: Worker, run: Run) -> None:
    by = run.airflow.a_run(user="carol")
    by.start("aside")
    by_command(by)
    child = Run(run.airflow, run.dag_id, f"triggered__{uuid4().hex}")
    assert newest.trigger(by, child).status_code == 204
    found = run.airflow.look(lambda s: requesters_of(s, child.place()))
    assert found.names == {"carol"}
    assert found.unattributed, "anybody can type a name"


def test_a_task_that_triggers_a_run_hands_on_who_shaped_its_own(newest: Worker, run: Run) -> None:
    by = run.airflow.a_run(user="dave")
    by.start("aside")
    shape(by, CAROL, "clear")
    child = Run(run.airflow, run.dag_id, f"triggered__{uuid4().hex}")
    answer = newest.trigger(by, child)
    assert answer.status_code < 300, answer.text
    found = run.airflow.look(lambda s: requesters_of(s, child.place()))
    assert ("dave", "triggered the run") in found.members
    assert ("carol", "started or shaped a run that triggered this one") in found.members
    assert BY_TASK in found.notes


def until(look: Callable[[], bool]) -> None:
    """What happens after an answer was sent happens soon, not at once."""
    deadline = time.monotonic() + 20
    while not look():
        assert time.monotonic() < deadline, "waited in vain"
        gc.collect()
        time.sleep(0.05)


def handed_on(airflow: Airflow, child: Run) -> list[str]:
    wanted = select(ActorRow.person_id).where(ActorRow.run_id == child.run_id, ActorRow.act == "trigger")
    return list(airflow.look(lambda s: s.scalars(wanted).all()))


def test_a_trigger_that_airflow_refuses_bars_nobody(newest: Worker, run: Run) -> None:
    by = run.airflow.a_run(user="dave")
    by.start("aside")
    shape(by, CAROL, "clear")
    elsewhere = Run(run.airflow, "no_such_dag", "r")
    invalid = Run(run.airflow, run.dag_id, f"manual__{uuid4().hex}")
    assert newest.trigger(by, run).status_code == 409, "it is there already"
    assert newest.trigger(by, elsewhere).status_code == 404
    path = f"/dag-runs/{invalid.dag_id}/{invalid.run_id}"
    assert newest.call(by.ti_id("aside"), "POST", path, {"conf": "no object"}).status_code == 422
    until(lambda: [handed_on(run.airflow, each) for each in (run, elsewhere, invalid)] == [[], [], []])


def test_a_run_that_a_person_made_is_not_shaped_by_a_trigger_that_came_to_nothing(
    newest: Worker, run: Run
) -> None:
    by = run.airflow.a_run(user="dave")
    shape(by, CAROL, "clear")
    run.airflow.do(lambda s: keep_parents(s, by.ti_id("aside"), run.place()))
    assert handed_on(run.airflow, run) == ["carol"], "as a server leaves it that dies in between"
    assert "carol" not in run.airflow.look(lambda s: requesters_of(s, run.place())).names


def test_people_are_handed_on_once_however_often_a_task_triggers(newest: Worker, run: Run) -> None:
    by = run.airflow.a_run(user="dave")
    by.start("aside")
    shape(by, CAROL, "clear")
    child = Run(run.airflow, run.dag_id, f"triggered__{uuid4().hex}")
    assert newest.trigger(by, child).status_code == 204
    assert newest.trigger(by, child).status_code == 409
    assert handed_on(run.airflow, child) == ["carol"]
