"""Who started or shaped a run, from everything that knows."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from airflow.models.backfill import Backfill
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control.requesters import Requesters, requesters_of
from airflow_approvals.core.models import Person
from airflow_approvals.store.tables import ActorRow
from tests.control.airflow_scene import CAROL, DAVE, Airflow, Run


def of(run: Run) -> Requesters:
    return run.airflow.look(lambda s: requesters_of(s, run.place()))


def shape(run: Run, person: Person, act: str, task_id: str = "gate", run_id: str | None = None) -> None:
    row = ActorRow(
        dag_id=run.dag_id,
        run_id=run.run_id if run_id is None else run_id,
        task_id=task_id,
        map_index=-1,
        person_id=person.id,
        person_name=person.name,
        act=act,
        at=run.airflow.now,
    )
    run.airflow.do(lambda s: s.add(row))


def test_whoever_triggered_the_run_is_in_the_set(airflow: Airflow) -> None:
    found = of(airflow.a_run(user="alice"))
    assert found.members == (("alice", "triggered the run"),)
    assert not found.unattributed


def test_a_run_that_nobody_triggered_is_unattributed(airflow: Airflow) -> None:
    found = of(airflow.a_run(user=None))
    assert found.unattributed
    assert found.names == frozenset()


@pytest.mark.parametrize("act", ["clear", "mark", "delete"])
def test_whoever_shaped_the_run_is_in_the_set_by_id_and_by_name(airflow: Airflow, act: str) -> None:
    run = airflow.a_run(user=None)
    shape(run, Person("4711", "mallory"), act, task_id="")
    found = of(run)
    assert found.names == {"4711", "mallory"}
    assert found.unattributed, "who shaped the run has not owned up to having started it"


def test_an_act_whose_runs_could_not_be_told_counts_for_runs_it_may_have_shaped(airflow: Airflow) -> None:
    run, elsewhere = airflow.a_run(), airflow.a_run("ungated")
    shape(run, CAROL, "clear", task_id="", run_id="")
    airflow.do(lambda s: setattr(_run_row(s, run), "run_after", airflow.now - timedelta(seconds=1)))
    assert of(run).names == {"alice", "carol"}
    airflow.do(lambda s: setattr(_run_row(s, run), "run_after", airflow.now + timedelta(seconds=1)))
    assert of(run).names == {"alice"}, "it came after that act"
    assert of(elsewhere).names == {"alice"}


def test_whoever_backfilled_the_run_has_triggered_it(airflow: Airflow) -> None:
    run = airflow.a_run(user=None)

    def backfill(session: Session) -> None:
        row = Backfill(
            dag_id=run.dag_id, from_date=airflow.now, to_date=airflow.now, dag_run_conf={},
            triggering_user_name="dave",
        )  # fmt: skip
        session.add(row)
        session.flush()
        _run_row(session, run).backfill_id = row.id

    airflow.do(backfill)
    found = of(run)
    assert found.names == {"dave"}
    assert not found.unattributed


def _run_row(session: Session, run: Run) -> DagRun:
    return session.scalars(select(DagRun).where(DagRun.run_id == run.run_id)).one()


def test_acts_on_another_run_do_not_count(airflow: Airflow) -> None:
    run, other = airflow.a_run(), airflow.a_run(user="dave")
    shape(run, CAROL, "clear", run_id=other.run_id)
    assert of(run).names == {"alice"}
    assert of(other).names == {"dave", "carol"}


def test_airflows_own_log_names_clearers_that_did_not_pass_our_server(airflow: Airflow) -> None:
    run = airflow.a_run()
    row = Log(event="clear_dag_run", owner="dave", dag_id=run.dag_id, run_id=run.run_id)
    airflow.do(lambda s: s.add(row))
    assert of(run).names == {"alice", "dave"}


def test_who_once_shaped_the_run_stays_in_the_set(airflow: Airflow) -> None:
    run = airflow.a_run()
    before = Requesters((("dave", "marked tasks of the run"),))
    both = of(run).union(before)
    assert both.names == {"alice", "dave"}
    assert both.members == before.union(of(run)).members


def test_the_stored_text_says_the_same(airflow: Airflow) -> None:
    run = airflow.a_run()
    shape(run, DAVE, "mark")
    found = of(run)
    assert Requesters.from_text(found.to_text()) == found
    assert json.loads(Requesters(()).to_text()) == []
