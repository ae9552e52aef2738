from __future__ import annotations

import os
from pathlib import Path

import pytest

from airflow_approvals.config.settings import Settings
from airflow_approvals.doctor import task_environment as checks
from airflow_approvals.doctor.findings import Severity


def ids(findings):
    return [finding.check for finding in findings]


def test_a_clean_worker_has_no_finding(around):
    clean = around(worker=True)
    assert [finding for check in checks.CHECKS for finding in check(clean)] == []


@pytest.mark.parametrize(
    ("variable", "check"),
    [
        ("AIRFLOW__API_AUTH__JWT_SECRET", "task_reads_jwt_secret"),
        ("AIRFLOW__API_AUTH__JWT_SECRET_CMD", "task_reads_jwt_secret"),
        ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "task_reads_sql_alchemy_conn"),
        ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC", "task_reads_sql_alchemy_conn_async"),
        ("AIRFLOW__CORE__FERNET_KEY", "task_reads_fernet_key"),
        ("AIRFLOW__CELERY__RESULT_BACKEND", "task_reads_result_backend"),
        ("AIRFLOW__CELERY__RESULT_BACKEND_CMD", "task_reads_result_backend"),
    ],
)
def test_a_key_of_the_server_where_tasks_run_is_critical(around, variable, check):
    found = list(checks.keys_of_the_server(around(worker=True, environ={variable: "s3cret-value"})))
    assert [(one.check, one.severity) for one in found] == [(check, Severity.CRITICAL)]
    assert variable in found[0].what
    assert "s3cret-value" not in str(found[0])


def test_a_key_in_the_configuration_file_counts_as_well(around):
    written = frozenset({("api_auth", "jwt_secret")})
    assert ids(checks.keys_of_the_server(around(worker=True, written=written))) == ["task_reads_jwt_secret"]


def test_the_server_may_have_its_own_keys(around):
    environ = {"AIRFLOW__API_AUTH__JWT_SECRET": "x"}
    assert ids(checks.keys_of_the_server(around(environ=environ))) == []


@pytest.mark.parametrize("variable", ["AIRFLOW_CONN_SINK_A", "airflow_conn_sink_a"])
def test_a_protected_connection_in_the_environment_is_critical(around, variable):
    found = list(checks.connections_in_reach(around(worker=True, environ={variable: "http://u:pw@host"})))
    assert ids(found) == ["connection_in_reach"]
    assert "pw@host" not in str(found)


def test_a_variable_of_the_server_is_out_of_reach_unless_tasks_share_it(around):
    environ = {"AIRFLOW_CONN_SINK_A": "http://host"}
    assert ids(checks.connections_in_reach(around(environ=environ))) == []
    shared = around(environ=environ, executors=("LocalExecutor",))
    assert ids(checks.connections_in_reach(shared)) == ["connection_in_reach"]


@pytest.mark.parametrize("option", ["WORKERS__SECRETS_BACKEND", "SECRETS__BACKEND"])
def test_a_backend_that_workers_read_is_asked(around, tmp_path: Path, monkeypatch, option):
    """Workers fall back to the backend of [secrets] where they have none of their own."""
    file = tmp_path / "connections.json"
    file.write_text('{"sink_a": "http://host"}')
    backend = "airflow.secrets.local_filesystem.LocalFilesystemBackend"
    monkeypatch.setenv(f"AIRFLOW__{option}", backend)
    monkeypatch.setenv(f"AIRFLOW__{option}_KWARGS", f'{{"connections_file_path": "{file}"}}')
    found = list(checks.connections_in_reach(around(worker=True, environ=dict(os.environ))))
    assert ids(found) == ["connection_in_reach"]
    assert "LocalFilesystemBackend" in found[0].what


def test_connections_are_known_from_the_projection_too(around):
    nothing = around(worker=True, settings=Settings())
    assert ids(checks.connections_known(nothing)) == ["no_connection_known"]
    projected = around(worker=True, settings=Settings(), projected=frozenset({"sink_b"}))
    assert ids(checks.connections_known(projected)) == []


def test_tasks_of_the_local_executor_sit_beside_the_server(around, monkeypatch):
    local = around(executors=("LocalExecutor", "CeleryExecutor"))
    assert ids(checks.tasks_beside_the_server(local)) == ["local_executor"]
    assert ids(checks.tasks_beside_the_server(around(worker=True, executors=("LocalExecutor",)))) == []


def test_another_user_for_tasks_of_the_local_executor_is_no_way_out(around, monkeypatch):
    """The DAG file is parsed before the user is changed, and `sudo -E` keeps the environment."""
    monkeypatch.setenv("AIRFLOW__CORE__DEFAULT_IMPERSONATION", "nobody")
    (found,) = checks.tasks_beside_the_server(around(executors=("LocalExecutor",)))
    assert (found.check, found.severity) == ("local_executor", Severity.CRITICAL)
    assert "impersonation" not in found.fix


def test_secret_files_that_a_task_can_read(around, tmp_path: Path):
    key = tmp_path / "signing.pem"
    key.touch()
    near = around(worker=True, settings=Settings(signing_key_file=key))
    assert ids(checks.secret_files_in_reach(near)) == ["task_reads_secret_file"]
    far = around(worker=True, settings=Settings(signing_key_file=tmp_path / "elsewhere.pem"))
    assert ids(checks.secret_files_in_reach(far)) == []
