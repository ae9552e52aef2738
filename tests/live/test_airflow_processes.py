"""The harness itself: a trivial DAG runs to success, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.live.airflow_processes import AirflowDeployment
from tests.live.process_groups import wait_until_gone

DAG = """
from airflow.sdk import dag, task

@dag(schedule=None)
def trivial():
    @task
    def say(): print("said by the task")
    say()

trivial()
"""


@pytest.mark.live
def test_a_dag_runs_and_nothing_is_left_behind(tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "trivial.py").write_text(DAG)
    with AirflowDeployment(tmp_path / "home", dags_folder=dags) as airflow:
        run_id = airflow.trigger("trivial", "bob")
        airflow.wait_for_run("trivial", run_id, timeout=60)
        assert "said by the task" in airflow.task_log("trivial", run_id, "say")
        with airflow.browser_session("victor") as browser:
            assert browser.get("/api/v2/dags").status_code == 200
            browser.cookies.clear()
            assert browser.get("/api/v2/dags").status_code == 401
        pids = [one.pid for one in psutil.Process().children(recursive=True)]
        assert set(airflow.processes().values()) <= set(pids)
    assert len(pids) > 3
    assert wait_until_gone(pids) == []
