"""The start ring and the credential ring, on a real metadata database."""

from __future__ import annotations

import threading

import pytest

from airflow_approvals.enforcement import rings
from airflow_approvals.seams import airflow_seams
from airflow_approvals.store.session import control_session
from tests.control.airflow_scene import BOB, Airflow, Run, open_sink, start, task_at, use


@pytest.fixture
def run(airflow: Airflow) -> Run:
    """A run whose gate was approved and has succeeded."""
    run = airflow.a_run()
    run.approve()
    run.finish("gate")
    return run


# -- the start ring ------------------------------------------------------------------------


def test_without_a_grant_nothing_behind_the_gate_starts(airflow: Airflow) -> None:
    run = airflow.a_run()
    run.change("gate", state="success")
    refusal = start(run)
    assert refusal is not None
    assert (refusal.code, refusal.status) == ("gate_shut", 409)
    assert run.task("use").state == "failed"
    assert "holds no approval" in airflow.look(lambda s: task_at(s, run.place("use")).note)
    assert airflow.kinds(run) == ["start_refused"]


def test_a_start_that_is_sent_again_for_a_running_task_is_let_through(airflow: Airflow) -> None:
    run = airflow.a_run()
    run.change("use", state="running", try_number=1)
    ti_id = run.ti_id("use")
    assert airflow.do(lambda s: rings.check_start(s, ti_id, now=airflow.now)) is None
    assert run.task("use").state == "running"


def test_a_start_that_another_server_let_through_meanwhile_is_not_failed(postgres_airflow: Airflow) -> None:
    """A start is judged by the state under the lock, not by the one that was read before it."""
    run = postgres_airflow.a_run()
    run.change("use", state="queued", try_number=1)
    ti_id, answers = run.ti_id("use"), []

    def judge() -> None:
        answers.append(postgres_airflow.do(lambda s: rings.check_start(s, ti_id, now=postgres_airflow.now)))

    with control_session() as session:
        locked = airflow_seams.lock_task(session, run.place("use"))
        assert locked is not None
        thread = threading.Thread(target=judge)
        thread.start()
        thread.join(0.4)
        assert answers == [], "it waits for the lock"
        locked.state = "running"
    thread.join(10)
    assert answers == [None]
    assert run.task("use").state == "running"


def test_what_stands_beside_the_gate_is_not_judged(airflow: Airflow) -> None:
    run = airflow.a_run()
    run.change("aside", state="queued")
    run.change("use", state="queued")
    assert not airflow.look(lambda s: rings.is_behind_a_gate(s, run.ti_id("aside")))
    assert airflow.look(lambda s: rings.is_behind_a_gate(s, run.ti_id("use")))


def test_each_gate_in_a_row_needs_its_own_approval(airflow: Airflow) -> None:
    run = airflow.a_run("in_a_row")
    run.approve()
    run.finish("gate")
    run.change("second", state="success")
    refusal = start(run)
    assert refusal is not None
    assert "gate second" in refusal.sentence


def test_the_resume_of_a_later_gate_does_not_pass_for_a_clear(airflow: Airflow) -> None:
    run = airflow.a_run("in_a_row")
    run.approve()
    run.finish("gate")
    second = run.ask(task_id="second")
    run.vote(second, BOB)
    run.finish("second")
    use(run)


# -- the credential ring -------------------------------------------------------------------


def test_a_running_task_behind_no_gate_is_refused_with_the_reason(airflow: Airflow) -> None:
    run = airflow.a_run()
    run.start("aside")
    refusal = open_sink(run, "aside")
    assert refusal is not None
    assert (refusal.code, refusal.status) == ("no_grant", 403)
    assert "stands behind no gate" in refusal.sentence
    note = airflow.look(lambda s: task_at(s, run.place("aside")).note)
    assert note == refusal.sentence
    assert airflow.kinds(run) == ["credential_refused"]


def test_a_task_that_does_not_run_is_refused(run: Run) -> None:
    run.change("use", state="queued")
    refusal = open_sink(run)
    assert refusal is not None
    assert refusal.code == "no_task"


def test_the_gate_itself_gets_no_credential(run: Run) -> None:
    run.change("gate", state="running")
    assert open_sink(run, "gate") is not None


def test_a_second_task_gets_nothing_from_a_bound_grant(run: Run) -> None:
    use(run)
    assert start(run, "between") is None
    refusal = open_sink(run, "between")
    assert refusal is not None
    assert "bound to another task" in refusal.sentence
    assert run.grant().state == "bound"


def test_a_grant_of_another_run_opens_nothing(run: Run) -> None:
    other = run.airflow.a_run()
    other.change("gate", state="success")
    other.start("use")
    assert open_sink(other) is not None
    assert run.grant().state == "live"


def test_a_grant_opens_the_connection_of_its_own_sink_only(run: Run) -> None:
    run.airflow.conf("protected_connections", "sink_a,sink_b")
    run.airflow.add_connection("sink_b")
    assert run.airflow.look(lambda s: rings.is_protected(s, "sink_b"))
    assert start(run) is None
    refusal = open_sink(run, conn_id="sink_b")
    assert refusal is not None
    assert "no gate of this run holds an approval for it" in refusal.sentence


def test_protection_comes_from_the_configuration_and_from_the_policy(bare_airflow: Airflow) -> None:
    def protected(conn_id: str) -> bool:
        return bare_airflow.look(lambda s: rings.is_protected(s, conn_id))

    assert protected("sink_a"), "listed in [approvals]"
    bare_airflow.conf("protected_connections", "")
    assert not protected("sink_a")
    bare_airflow.activate()
    assert protected("sink_a"), "a sink of the active policy"
    assert not protected("anything_else")


@pytest.mark.parametrize("spelling", ["SINK_A", "Sink_a"])
def test_another_spelling_that_the_environment_would_answer_is_as_protected(
    run: Run, spelling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SINK_A", "generic://sink.invalid")
    assert airflow_seams.connection_parts(spelling) is not None, "the environment knows it by that name"
    assert run.airflow.look(lambda s: rings.is_protected(s, spelling))
    assert start(run) is None
    assert open_sink(run, conn_id=spelling) is not None
