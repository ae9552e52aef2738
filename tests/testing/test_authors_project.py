"""The fixture as a DAG author uses it: a project, an Airflow home and a pytest of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

AUTHOR = Path(__file__).with_name("author")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An Airflow home with a migrated database, and a room for what the DAG writes."""
    home, room = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("room")
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__CORE__DAGS_FOLDER": str(AUTHOR),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__APPROVALS__PROTECTED_CONNECTIONS": "sink_a",
        "AUTHOR_ROOM": str(room),
        "PYTHONPATH": str(Path.cwd()),
    }
    airflow = [sys.executable, "-m", "airflow"]
    add = ["connections", "add", "sink_a", "--conn-type", "generic", "--conn-host", "sink.invalid"]
    for command in (["db", "migrate"], add):
        subprocess.run([*airflow, *command], env=environment, check=True, capture_output=True)
    return environment


def run_tests(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, str(AUTHOR)]
    return subprocess.run(command, env=environment, cwd=AUTHOR, capture_output=True, text=True, check=False)


def test_an_authors_tests_run_and_pass(environment: dict[str, str]) -> None:
    ended = run_tests(environment)
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    assert "4 passed" in ended.stdout


def test_a_database_that_is_meant_seriously_is_refused(environment: dict[str, str]) -> None:
    activate = [
        sys.executable,
        "-m",
        "airflow",
        "approvals",
        "policy",
        "activate",
        str(AUTHOR / "policy.yaml"),
    ]
    subprocess.run(activate, env=environment, check=True, capture_output=True)
    ended = run_tests(environment)
    assert "4 errors" in ended.stdout
    assert "has a policy in force that is no rehearsal" in ended.stdout
