"""What Airflow knows of connections and of people, as the seams read it from a real database."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.models.log import Log

from airflow_approvals.control import airflow_seams
from tests.control.airflow_scene import SECRET, Airflow, Run


@pytest.fixture
def run(airflow: Airflow) -> Run:
    return airflow.a_run()


def test_a_connection_is_known_by_seven_parts_and_undefined_by_none(airflow: Airflow) -> None:
    parts = airflow_seams.connection_parts("sink_a")
    assert parts == ("generic", "sink.invalid", "", "", "", SECRET, "")
    assert airflow_seams.connection_parts("nowhere") is None


@pytest.mark.parametrize(
    "change",
    [{"host": "b"}, {"port": 1}, {"schema": "b"}, {"login": "b"}, {"password": "b"}, {"extra": '{"b": 1}'},
     {"conn_type": "http"}],
)  # fmt: skip
def test_every_part_of_a_connection_is_seen(airflow: Airflow, change: dict[str, Any]) -> None:
    airflow.add_connection("other", **change)
    airflow.add_connection("same")
    assert airflow_seams.connection_parts("other") != airflow_seams.connection_parts("same")
    assert airflow_seams.connection_parts("sink_a") == airflow_seams.connection_parts("same")


def test_the_triggering_user_is_what_airflow_recorded(airflow: Airflow) -> None:
    by_alice, by_nobody = airflow.a_run(), airflow.a_run(user=None)

    def user_of(run: Run) -> str | None:
        return airflow.look(lambda s: airflow_seams.triggering_user(s, run.dag_id, run.run_id))

    assert (user_of(by_alice), user_of(by_nobody)) == ("alice", None)


def test_a_clear_does_not_move_the_moment_a_run_could_start(run: Run) -> None:
    def moment() -> Any:
        return run.airflow.look(lambda s: airflow_seams.run_after(s, run.dag_id, run.run_id))

    before = moment()
    assert before is not None
    run.start("use")
    run.finish("use")
    run.clear("use")
    assert moment() == before
    assert run.airflow.look(lambda s: airflow_seams.run_after(s, run.dag_id, "nowhere")) is None


def test_a_run_that_no_backfill_made_has_no_backfiller(run: Run) -> None:
    assert run.airflow.look(lambda s: airflow_seams.backfiller(s, run.dag_id, run.run_id)) is None


def test_clearers_are_those_airflow_logged_for_this_very_run(airflow: Airflow) -> None:
    run, other = airflow.a_run(), airflow.a_run()

    def logged(event: str, owner: str, run_id: str) -> Log:
        return Log(event=event, owner=owner, dag_id=run.dag_id, run_id=run_id)

    rows = [
        logged("post_clear_task_instances", "bob", run.run_id),
        logged("clear_dag_run", "carol", run.run_id),
        logged("post_clear_task_instances", "dave", other.run_id),
        logged("trigger_dag_run", "erin", run.run_id),
    ]
    airflow.do(lambda s: s.add_all(rows))
    found = airflow.look(lambda s: airflow_seams.logged_clearers(s, run.dag_id, run.run_id))
    assert found == {"bob", "carol"}


def test_airflow_logs_clears_under_the_names_we_look_for() -> None:
    """``action_logging`` writes the name of the endpoint's function."""
    from airflow.api_fastapi.core_api.routes.public.dag_run import dag_run_at_dag_router, dag_run_router
    from airflow.api_fastapi.core_api.routes.public.task_instances import task_instances_router

    routes = [*dag_run_router.routes, *dag_run_at_dag_router.routes, *task_instances_router.routes]
    clearing = {r.endpoint.__name__ for r in routes if "clear" in r.path.lower()}
    assert set(airflow_seams._CLEARING_EVENTS) <= clearing
