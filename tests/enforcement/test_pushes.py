"""A parked gate's own token, which would have the gate go on: refused in every version, and entered."""

from __future__ import annotations

import pytest

from tests.control.airflow_scene import Airflow, Run
from tests.control.execution_worker import Worker


@pytest.fixture
def parked(airflow: Airflow) -> Run:
    run = airflow.a_run()
    run.ask()
    return run


def test_a_parked_gate_that_says_it_is_done_is_entered(worker: Worker, parked: Run) -> None:
    assert worker.succeed(parked, "gate").status_code == 409
    assert parked.task("gate").state == "awaiting_input"
    (entry,) = parked.airflow.entries(kind="foreign_answer_refused", run_id=parked.run_id)
    assert entry["details"] == {"task": "gated.gate", "call": "state"}


def test_a_parked_gate_that_is_started_is_refused_and_entered(worker: Worker, parked: Run) -> None:
    answer = worker.start(parked, "gate")
    assert (answer.status_code, answer.json()["detail"]["reason"]) == (409, "approvals_gate_parked")
    assert parked.task("gate").state == "awaiting_input"
    (entry,) = parked.airflow.entries(kind="foreign_answer_refused", run_id=parked.run_id)
    assert entry["details"] == {"task": "gated.gate", "call": "run"}


def test_parking_said_twice_is_no_attempt(newest: Worker, parked: Run) -> None:
    """A worker says it again when the answer to the first call was lost."""
    ti_id = parked.ti_id()
    body = {"state": "awaiting_input", "next_method": "execute_complete", "next_kwargs": {}}
    answer = newest.call(ti_id, "PATCH", f"/task-instances/{ti_id}/state", body)
    assert answer.status_code == 200, answer.text
    assert parked.airflow.kinds(parked) == ["request_registered"]


def test_a_task_that_is_no_gate_is_none_of_ours(newest: Worker, parked: Run) -> None:
    parked.change("aside", state="awaiting_input")
    assert newest.succeed(parked, "aside").status_code == 409
    assert newest.start(parked, "aside").status_code == 409
    assert parked.airflow.entries(kind="foreign_answer_refused", run_id=parked.run_id) == []
