from __future__ import annotations

import logging
import os
from datetime import UTC, datetime

import pytest
import yaml

from airflow_approvals.cli import policy as cli
from airflow_approvals.config import policy_file
from airflow_approvals.config.policy_file import read_policy_text
from airflow_approvals.control import health, policy_drift
from airflow_approvals.store import policies
from airflow_approvals.store.session import run_read, run_transaction
from tests.core.policies import EXAMPLE

TEXT = yaml.safe_dump(EXAMPLE)
pytestmark = pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "policy.yaml"
    path.write_text(TEXT)
    monkeypatch.setenv("AIRFLOW__APPROVALS__POLICY_FILE", str(path))
    monkeypatch.setattr(policy_drift, "_READ", {})
    monkeypatch.setattr(policy_drift, "_TOLD", [None])
    return path


@pytest.fixture
def active(database, file):
    policy = read_policy_text(TEXT, "first")
    run_transaction(
        lambda session: policies.store_and_activate(session, policy, actor="cli:me", now=datetime.now(UTC))
    )
    return policy


def rewrite(file, text):
    """Write a file whose stamp differs however coarse the clock of the file system is."""
    file.write_text(text)
    later = file.stat().st_mtime_ns + 10**9
    os.utime(file, ns=(later, later))


def test_the_file_in_force_is_no_problem(active):
    assert policy_drift.problem() is None


def test_edited_file_is_told_until_it_is_activated(active, file):
    rewrite(file, TEXT + "# more\n")
    assert f"is not the policy in force ({active.digest})" in policy_drift.problem()
    rewrite(file, TEXT)
    assert policy_drift.problem() is None


def test_broken_file_keeps_the_policy_in_force_and_is_told_everywhere(active, file, caplog):
    rewrite(file, TEXT.replace("effect: require", "effect: ask"))
    expected = "rules[0].effect: must be one of"
    assert expected in policy_drift.problem()
    assert any(expected in problem and active.digest in problem for problem in health.report()["problems"])
    with caplog.at_level(logging.INFO):
        policy_drift.tell()
        policy_drift.tell()
    assert [expected in record.message for record in caplog.records] == [True]
    for command in (cli.lint, cli.activate):
        with pytest.raises(SystemExit, match=r"rules\[0\]\.effect: must be one of") as ended:
            command(cli.Namespace(path=None))
        assert command is cli.activate or f"The policy in force stays {active.digest}" in str(ended.value)
    assert run_read(policies.active_policy) == active
    rewrite(file, TEXT)
    with caplog.at_level(logging.INFO):
        policy_drift.tell()
    assert caplog.records[-1].message == "approvals: the policy file is the policy in force"


def test_file_that_is_gone_is_told(active, file):
    file.unlink()
    assert "cannot be read: No such file" in policy_drift.problem()


def test_unchanged_file_is_not_read_again(active, file, monkeypatch):
    assert policy_drift.problem() is None
    reads = []
    real = policy_file.read_policy_file
    monkeypatch.setattr(policy_drift, "read_policy_file", lambda path: reads.append(path) or real(path))
    assert policy_drift.problem() is None
    assert reads == []
    rewrite(file, TEXT + "# more\n")
    assert policy_drift.problem() is not None
    assert reads == [file]


def test_without_a_file_or_an_active_policy_there_is_nothing_to_compare(database, file, monkeypatch):
    assert policy_drift.problem() is None
    monkeypatch.delenv("AIRFLOW__APPROVALS__POLICY_FILE")
    assert policy_drift.problem() is None


def test_lint_says_that_another_policy_is_in_force(active, file, capsys):
    rewrite(file, TEXT + "# more\n")
    cli.lint(cli.Namespace(path=None))
    assert f"note: another policy is in force, {active.digest}" in capsys.readouterr().out
