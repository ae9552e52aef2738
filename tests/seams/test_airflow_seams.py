"""The contract of every function that leans on Airflow's internals, on a real metadata database."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from airflow.models.dagbag import DBDagBag
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.models.serialized_dag import SerializedDagModel
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.sdk.serde import deserialize
from airflow.utils.state import DagRunState
from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from airflow_approvals.seams import airflow_seams
from airflow_approvals.store.session import control_session
from tests.control.airflow_database import write_dag
from tests.control.airflow_scene import BOB, Airflow, Run, an_ask, task_at

OUTCOME = {"outcome": "approved", "because": "Approved by bob."}


@pytest.fixture
def run(airflow: Airflow) -> Run:
    return airflow.a_run()


def resume(run: Run) -> None:
    def work(session: Session) -> None:
        parked = airflow_seams.lock_gate(session, run.place())
        assert parked is not None
        airflow_seams.resume(
            session,
            parked,
            options=["Approve"],
            by=BOB,
            outcome=OUTCOME,
            outcome_key="approvals",
            now=run.airflow.now,
        )

    run.airflow.do(work)


def lock(run: Run) -> airflow_seams.Parked:
    """The gate's rows, as they were when locked."""

    def work(session: Session) -> airflow_seams.Parked:
        parked = airflow_seams.lock_gate(session, run.place())
        assert parked is not None
        return parked

    return run.airflow.do(work)


def test_resume_counts_the_park_as_a_try_of_its_own_that_costs_no_retry(run: Run) -> None:
    run.park()
    before = run.task()
    resume(run)
    after = run.task()
    assert (after.try_number, after.max_tries) == (before.try_number + 1, before.max_tries + 1)
    assert after.id == before.id, "the task keeps its identity, and its inbox row with it"
    assert after.state == "scheduled"
    assert (after.trigger_id, after.trigger_timeout) == (None, None)
    assert after.next_method == "execute_complete"


def test_resume_archives_the_parked_try_under_its_own_number(run: Run) -> None:
    run.park()
    before = run.task()
    resume(run)
    (archived,) = run.history()
    assert (archived.try_number, archived.state) == (before.try_number, "deferred")
    assert archived.task_instance_id != before.id
    # What a log is looked up by: the history row of that try, with host and place.
    assert archived.key == before.key
    assert (archived.hostname, archived.start_date) == (before.hostname, before.start_date)


def test_resume_hands_the_outcome_to_the_task(run: Run) -> None:
    run.park()
    resume(run)
    event = deserialize(run.task().next_kwargs)["event"]
    assert event["approvals"] == OUTCOME
    assert event["chosen_options"] == ["Approve"]
    assert event["responded_by_user"] == {"id": "bob", "name": "bob"}
    inbox = run.inbox()
    assert (inbox.chosen_options, inbox.responded_by) == (["Approve"], {"id": "bob", "name": "bob"})
    assert inbox.response_received
    assert inbox.params_input == {}


def test_a_resumed_gate_can_be_cleared_and_parked_again(run: Run) -> None:
    run.park()
    resume(run)
    run.finish("gate")
    run.clear("gate")
    run.park()
    resume(run)
    assert [row.try_number for row in run.history()] == [1, 2, 3]
    assert run.task().try_number == 4


def test_a_parked_gate_waits_until_it_is_answered(run: Run) -> None:
    run.park()
    parked = lock(run)
    assert parked.is_waiting
    assert parked.is_try(str(parked.ti.id), 1)
    assert not parked.is_try(str(parked.ti.id), 2)
    assert not parked.is_try("00000000-0000-0000-0000-000000000000", 1)
    resume(run)
    assert not lock(run).is_waiting


def test_a_gate_with_an_answer_in_its_inbox_does_not_wait(run: Run) -> None:
    run.park()
    run.airflow.do(lambda s: setattr(s.merge(run.inbox()), "responded_at", run.airflow.now))
    assert not lock(run).is_waiting


def test_a_gate_whose_inbox_was_deleted_does_not_wait(run: Run) -> None:
    run.park()
    run.airflow.do(lambda s: s.delete(s.merge(run.inbox())))
    parked = lock(run)
    assert parked.inbox is None
    assert not parked.is_waiting


def test_lock_gate_finds_nothing_where_the_task_is_gone(run: Run) -> None:
    run.delete("gate")
    assert run.airflow.do(lambda s: airflow_seams.lock_gate(s, run.place())) is None


def test_lock_gate_loads_afresh_what_the_session_already_knew(run: Run) -> None:
    with run.airflow.database.session() as session:
        known = task_at(session, run.place())
        session.commit()  # the rows stay in the session, unexpired
        assert known.state is None
        run.change("gate", state="running")
        parked = airflow_seams.lock_gate(session, run.place())
        assert parked is not None
        assert parked.ti is known
        assert known.state == "running"


def test_lock_gate_holds_others_up_on_postgresql(postgres_airflow: Airflow) -> None:
    run = postgres_airflow.a_run()
    run.park()
    got: list[str] = []

    def second() -> None:
        with control_session() as session:
            parked = airflow_seams.lock_gate(session, run.place())
            assert parked is not None
            got.append(str(parked.ti.state))

    with control_session() as session:
        parked = airflow_seams.lock_gate(session, run.place())
        assert parked is not None
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.4)
        assert got == [], "the second taker waits for the first"
        parked.ti.state = "success"
    thread.join(10)
    assert got == ["success"], "and then sees what the first one wrote"


def test_lock_gate_leaves_the_run_to_a_mark_that_has_the_task_already(postgres_airflow: Airflow) -> None:
    """Airflow marks a run by changing its tasks first and the run last: a deadlock, if we held the run."""
    run = postgres_airflow.a_run()
    run.park()
    got: list[str] = []

    def settle() -> None:
        with control_session() as session:
            parked = airflow_seams.lock_gate(session, run.place())
            assert parked is not None
            got.append(str(parked.ti.state))

    with control_session() as session:
        task_at(session, run.place()).state = "success"
        session.flush()
        thread = threading.Thread(target=settle)
        thread.start()
        thread.join(0.4)
        assert got == [], "it waits for the task"
        session.execute(text("SET LOCAL lock_timeout = '5s'"))
        marked = update(DagRun).where(
            DagRun.dag_id == run.place().dag_id, DagRun.run_id == run.place().run_id
        )
        session.execute(marked.values(state="success"))
    thread.join(10)
    assert got == ["success"]


def test_task_instances_are_found_by_id_and_by_place(run: Run) -> None:
    ti = run.task()
    found = run.airflow.look(lambda s: airflow_seams.task_instance(s, str(ti.id)))
    assert found is not None
    assert airflow_seams.place_of(found) == run.place()
    at = run.airflow.look(lambda s: airflow_seams.task_instance_at(s, run.place()))
    assert at is not None
    assert at.id == ti.id
    assert run.airflow.look(lambda s: airflow_seams.task_instance_at(s, run.place("nowhere"))) is None
    nobody = "00000000-0000-0000-0000-000000000000"
    assert run.airflow.look(lambda s: airflow_seams.task_instance(s, nobody)) is None


def test_show_request_leaves_nothing_of_the_task_in_the_inbox(run: Run) -> None:
    run.park()
    before = run.inbox()
    assert before.params
    assert before.defaults
    assert before.assignees
    run.airflow.do(lambda s: airflow_seams.show_request(s.merge(before), subject="ours", body="**ours**"))
    after = run.inbox()
    assert (after.subject, after.body) == ("ours", "**ours**")
    assert (after.params, after.defaults, after.assignees) == ({}, None, [])


def test_refuse_start_fails_the_task_and_says_why_where_people_look(run: Run) -> None:
    run.change("use", state="queued", try_number=1)
    why = "Not started: " + "x" * 2000

    def work(session: Session) -> None:
        airflow_seams.refuse_start(session, task_at(session, run.place("use")), why, now=run.airflow.now)

    run.airflow.do(work)
    ti = run.task("use")
    assert ti.state == "failed"
    assert (ti.start_date, ti.end_date, ti.duration) == (run.airflow.now, run.airflow.now, 0)
    note = run.airflow.look(lambda s: task_at(s, run.place("use")).note)
    assert note == why[:1000]
    of_run = select(Log).where(Log.run_id == run.run_id, Log.event == "approvals_refused")
    (row,) = run.airflow.look(lambda s: s.scalars(of_run).all())
    assert (row.dag_id, row.task_id, row.map_index, row.try_number) == ("gated", "use", -1, 1)
    assert (row.owner, row.extra) == ("approvals", why)


def seen(run: Run, first_try: int = 1) -> tuple[bool, bool]:
    place = run.place("use")
    return run.airflow.look(
        lambda s: (
            airflow_seams.was_seen_through(s, place, first_try),
            airflow_seams.was_replaced_after_success(s, place, first_try),
        )
    )


@pytest.mark.parametrize("end", ["success", "skipped"])
def test_a_task_seen_through_stays_so_across_a_clear(run: Run, end: str) -> None:
    assert seen(run) == (False, False)
    run.start("use")
    assert seen(run) == (False, False)
    run.finish("use", end)
    assert seen(run) == (True, False)
    run.clear("use")
    assert seen(run) == (True, True)
    run.start("use")
    run.finish("use", "failed")
    assert seen(run) == (True, True)


def test_a_failed_task_is_not_seen_through_even_when_cleared(run: Run) -> None:
    run.start("use")
    run.finish("use", "failed")
    run.clear("use")
    assert seen(run) == (False, False)


def test_tries_before_the_first_one_that_counts_do_not_count(run: Run) -> None:
    run.start("use")
    run.finish("use")
    run.clear("use")
    run.start("use")
    assert seen(run, first_try=1) == (True, True)
    assert seen(run, first_try=2) == (False, False)


def test_a_task_that_is_gone_was_not_seen_through(run: Run) -> None:
    run.delete("use")
    assert seen(run) == (False, False)


def max_tries(run: Run) -> dict[tuple[str, int], int]:
    return run.airflow.look(lambda s: airflow_seams.max_tries_of(s, run.dag_id, run.run_id))


def test_a_clear_raises_max_tries_and_a_retry_does_not(run: Run) -> None:
    at_first = max_tries(run)
    assert at_first == {("gate", -1): 1, ("between", -1): 0, ("use", -1): 0, ("aside", -1): 0}
    run.start("gate")
    run.retry("gate")
    assert max_tries(run) == at_first
    run.start("gate")
    run.finish("gate")
    run.clear("gate")
    assert max_tries(run) == {**at_first, ("gate", -1): 3}


def test_the_code_a_task_runs_by_has_a_hash_and_a_version(run: Run) -> None:
    code: Any = run.airflow.look(lambda s: (_of_use(s, run, airflow_seams.dag_hash),))
    stored = select(SerializedDagModel.dag_hash).where(
        SerializedDagModel.dag_version_id == run.task("use").dag_version_id
    )
    assert code == (run.airflow.look(lambda s: s.scalar(stored)),)
    assert run.airflow.look(lambda s: _of_use(s, run, airflow_seams.dag_version)) == (1, "")


def _of_use(session: Session, run: Run, seam: Any) -> Any:
    return seam(session, task_at(session, run.place("use")))


def test_a_run_that_is_pinned_to_a_version_stays_with_its_code(airflow: Airflow) -> None:
    airflow.do(lambda s: write_dag(s, _gated(), bundle_version="c0ffee"))
    run = airflow.a_run()
    airflow.do(lambda s: setattr(_run_of(s, run), "bundle_version", "c0ffee"))
    before = airflow.look(lambda s: _of_use(s, run, airflow_seams.dag_hash))
    airflow.do(lambda s: write_dag(s, _gated("one_more"), bundle_version="decaff"))
    assert airflow.look(lambda s: _of_use(s, run, airflow_seams.dag_hash)) == before
    later = airflow.a_run()
    assert airflow.look(lambda s: _of_use(s, later, airflow_seams.dag_hash)) != before
    assert airflow.look(lambda s: _of_use(s, later, airflow_seams.dag_version))[1] == "decaff"


def test_a_run_without_a_version_runs_the_newest_code_whatever_its_row_says(run: Run) -> None:
    before = run.airflow.look(lambda s: _of_use(s, run, airflow_seams.dag_hash))
    version = run.task("use").dag_version_id
    run.airflow.do(lambda s: write_dag(s, _gated("one_more")))
    assert run.task("use").dag_version_id == version, "Airflow has not moved the row"
    assert run.airflow.look(lambda s: _of_use(s, run, airflow_seams.dag_hash)) != before


def _gated(*more: str) -> DAG:
    with DAG("gated", schedule=None) as dag:
        EmptyOperator(task_id="gate") >> EmptyOperator(task_id="use")
        for task_id in more:
            EmptyOperator(task_id=task_id)
    return dag


def _run_of(session: Session, run: Run) -> DagRun:
    found = select(DagRun).where(DagRun.dag_id == run.place().dag_id, DagRun.run_id == run.place().run_id)
    return session.scalars(found).one()


def test_a_task_without_a_version_has_no_code_that_could_match(run: Run) -> None:
    run.change("use", dag_version_id=None)
    assert run.airflow.look(lambda s: _of_use(s, run, airflow_seams.dag_hash)) == ""
    assert run.airflow.look(lambda s: _of_use(s, run, airflow_seams.dag_version)) == (0, "")


def test_a_scheduler_event_of_the_parked_try_no_longer_names_the_resumed_one(run: Run) -> None:
    """The race that ``resume`` is built around, as the scheduler tells tries apart."""
    run.park()
    late_event = run.task().key
    resume(run)
    assert run.task().key != late_event
    assert run.task().key.primary == late_event.primary


def test_a_resume_works_on_the_dag_that_airflow_loads(run: Run) -> None:
    """The task of a resumed gate is found by its DAG version, so the scheduler can queue it."""
    run.park(an_ask())
    resume(run)

    def load(session: Session) -> Any:
        ti = task_at(session, run.place())
        assert ti.dag_run.state == DagRunState.RUNNING
        return DBDagBag().get_dag(ti.dag_version_id, session=session)

    assert run.airflow.look(load).get_task("gate").task_id == "gate"
    assert run.task().scheduled_dttm > run.airflow.now - timedelta(minutes=1)
