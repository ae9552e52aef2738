from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from airflow_approvals.cli import doctor as cli
from airflow_approvals.doctor.chat_secrets import chat_secrets_in_connections
from airflow_approvals.doctor.examination import examine, surroundings
from airflow_approvals.doctor.findings import Finding, Severity


def finding(check: str, severity: Severity) -> Finding:
    return Finding(check, severity, "what", "why", "fix")


def test_the_worst_comes_first(around):
    def both(_):
        yield finding("a", Severity.NOTE)
        yield finding("b", Severity.CRITICAL)

    assert [one.check for one in examine(around(), [both])] == ["b", "a"]


def test_a_check_that_fails_is_a_critical_finding_and_quotes_nothing(around):
    def broken(_):
        raise ValueError("password hunter2")

    (found,) = examine(around(), [broken])
    assert (found.check, found.severity) == ("not_checked", Severity.CRITICAL)
    assert found.what == "Check broken could not be made: ValueError."


@pytest.mark.parametrize(
    "option",
    [
        "slack_bot_token_file",
        "slack_signing_secret_file",
        "teams_webhook_url_file",
        "teams_app_password_file",
    ],
)
def test_a_chat_secret_in_a_connection_is_found_and_not_printed(airflow, tmp_path: Path, option: str):
    token = tmp_path / "token"
    token.write_text("xoxb-made-up-for-this-test")
    token.chmod(0o600)
    airflow.conf(option, str(token))
    assert list(chat_secrets_in_connections(surroundings(worker=False))) == []
    airflow.add_connection("slack_api_default", conn_type="slack", password=token.read_text())
    (found,) = chat_secrets_in_connections(surroundings(worker=False))
    assert "slack_api_default" in found.what
    assert "xoxb" not in str(found)


def run(capsys, **args):
    with pytest.raises(SystemExit) as ended:
        cli.doctor(Namespace(**{"json": False, "worker": False, **args}))
    return ended.value.code, capsys.readouterr().out


def test_the_command_ends_with_1_on_a_critical_finding(airflow, capsys, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor")
    code, said = run(capsys)
    assert code == 1
    assert (
        "CRITICAL  LocalExecutor runs tasks beside the scheduler, with its environment.  [local_executor]"
        in said
    )
    assert said.rstrip().endswith("Run `airflow approvals doctor --worker` where tasks run as well.")


def test_the_command_prints_json(airflow, capsys, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor")
    code, said = run(capsys, json=True)
    assert code == 1
    assert {"local_executor", "unhealthy"} <= {one["check"] for one in json.loads(said)}


def test_on_a_worker_no_database_is_asked(capsys, monkeypatch):
    monkeypatch.setattr("airflow.settings.engine", None)
    monkeypatch.setenv("AIRFLOW__APPROVALS__PROTECTED_CONNECTIONS", "sink_a")
    monkeypatch.setenv("AIRFLOW_CONN_SINK_A", "http://host")
    code, said = run(capsys, worker=True)
    assert code == 1
    assert "connection sink_a resolves from the environment" in said
    assert "not_checked" not in said


def test_a_healthy_deployment_ends_without_an_exit_code(airflow, capsys, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    cli.doctor(Namespace(json=False, worker=False))
    assert "doctor: the control plane: 0 critical" in capsys.readouterr().out
