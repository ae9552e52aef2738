"""Who is no running task and asks for a protected Connection all the same."""

from __future__ import annotations

import sys
from datetime import timedelta
from uuid import uuid4

import pytest

from airflow_approvals.core.models import Refusal
from airflow_approvals.enforcement import rings, strangers
from tests.control.airflow_scene import Airflow


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "_ENTERED", {})


def ask(airflow: Airflow, ti_id: str, *, conn_id: str = "sink_a", after: timedelta = timedelta(0)) -> None:
    now = airflow.now + after
    refusal = airflow.do(lambda s: rings.check_connection(s, ti_id, conn_id, now=now))
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.status) == ("no_task", 403)


def test_a_process_without_a_task_is_entered_once_in_a_while(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A DAG file is parsed again and again; its attempts must not bury the ledger."""
    monkeypatch.setattr(sys, "argv", ["airflow", "dag-processor", "--secret", "x"])
    for spelling in ("sink_a", "SINK_A", "Sink_a"):
        ask(airflow, strangers.NO_TASK, conn_id=spelling)
    (entry,) = airflow.entries(kind="credential_refused")
    assert entry["details"]["process"] == "dag-processor"
    assert entry["task_id"] is None
    ask(airflow, strangers.NO_TASK, after=timedelta(hours=1))
    assert len(airflow.entries(kind="credential_refused")) == 2


def test_an_unknown_command_is_not_quoted(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["python", "a-secret-in-an-argument"])
    ask(airflow, strangers.NO_TASK)
    (entry,) = airflow.entries(kind="credential_refused")
    assert entry["details"]["process"] == "another"


def test_a_token_of_a_task_that_never_was_is_entered_each_time(airflow: Airflow) -> None:
    ti_id = str(uuid4())
    for _ in range(2):
        ask(airflow, ti_id)
    entries = airflow.entries(kind="credential_refused")
    assert [entry["details"]["task_instance"] for entry in entries] == [ti_id, ti_id]


def test_a_token_of_a_task_that_has_ended_is_entered_with_its_place(airflow: Airflow) -> None:
    run = airflow.a_run()
    run.change("aside", state="success")
    ask(airflow, run.ti_id("aside"))
    (entry,) = airflow.entries(kind="credential_refused")
    assert (entry["run_id"], entry["task_id"]) == (run.place().run_id, "aside")
    assert entry["details"]["task_state"] == "success"
