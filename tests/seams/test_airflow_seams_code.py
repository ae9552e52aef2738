"""Contract tests of ``seams/airflow_seams_code.py`` on a real Airflow metadata database."""

from __future__ import annotations

from airflow.models.dagcode import DagCode
from airflow.models.serialized_dag import SerializedDagModel
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.seams import airflow_seams, airflow_seams_code
from tests.control.airflow_database import versioned_dag, write_dag
from tests.control.airflow_scene import DAG_ID, VERSIONED_DAG_ID, Airflow, Run, task_at


def source_of(run: Run) -> str:
    return run.airflow.look(lambda s: airflow_seams_code.source_hash(s, task_at(s, run.place("use"))))


def serialized_of(run: Run) -> str:
    return run.airflow.look(lambda s: airflow_seams.dag_hash(s, task_at(s, run.place("use"))))


def test_it_is_what_airflow_keeps_of_the_file(airflow: Airflow) -> None:
    run = airflow.a_run()
    stored = select(DagCode.source_code_hash).where(DagCode.dag_version_id == run.task("use").dag_version_id)
    assert source_of(run) == airflow.look(lambda s: s.scalar(stored))
    assert len(source_of(run)) == 32


def test_another_body_is_another_source_of_the_same_serialized_dag(airflow: Airflow) -> None:
    run = airflow.a_run()
    before, serialized = source_of(run), serialized_of(run)
    airflow.redeploy(text="# one\n")
    one = source_of(run)
    airflow.redeploy(text="# two\n")
    assert len({before, one, source_of(run)}) == 3
    assert serialized_of(run) == serialized


def test_a_bundle_without_versions_runs_the_newest_file(airflow: Airflow) -> None:
    run = airflow.a_run()
    with DAG(DAG_ID, schedule=None) as other:
        EmptyOperator(task_id="gate") >> EmptyOperator(task_id="use")
    airflow.do(lambda s: write_dag(s, other))
    airflow.redeploy(text="# of the newer version\n")
    assert source_of(run) == DagCode.dag_source_hash("# of the newer version\n")


def test_a_bundle_with_versions_runs_the_file_of_its_version(airflow: Airflow) -> None:
    run = airflow.a_run(VERSIONED_DAG_ID)
    before = source_of(run)

    def advance(session: Session) -> None:
        newer = versioned_dag()
        EmptyOperator(task_id="more", dag=newer)
        write_dag(session, newer, bundle_version="decaf")

    airflow.do(advance)
    airflow.redeploy(VERSIONED_DAG_ID, text="# of the newer version\n")
    assert source_of(run) == before
    later = airflow.a_run(VERSIONED_DAG_ID)
    assert source_of(later) == DagCode.dag_source_hash("# of the newer version\n")


def test_a_task_without_a_version_has_no_source(airflow: Airflow) -> None:
    run = airflow.a_run()
    run.change("use", dag_version_id=None)
    assert source_of(run) == ""


def test_source_and_structure_are_written_together(airflow: Airflow) -> None:
    """A version without its source would let nothing open; Airflow writes both or neither."""
    without = select(SerializedDagModel.dag_id).where(
        SerializedDagModel.dag_version_id.not_in(select(DagCode.dag_version_id))
    )
    assert airflow.look(lambda s: s.scalars(without).all()) == []
