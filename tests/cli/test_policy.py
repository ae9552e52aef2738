from __future__ import annotations

import json
import stat
from argparse import Namespace

import pytest
import yaml

from airflow_approvals.cli import policy as cli
from airflow_approvals.config.policy_file import read_policy_file
from airflow_approvals.store import ledger, policies
from airflow_approvals.store.session import read_session
from tests.core.policies import EXAMPLE, rule, with_rules


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(EXAMPLE))
    return path


@pytest.fixture
def projection(tmp_path, monkeypatch):
    path = tmp_path / "projection.json"
    monkeypatch.setenv("AIRFLOW__APPROVALS__PROJECTION_FILE", str(path))
    return path


def active():
    with read_session() as session:
        return policies.active_policy(session)


def test_lint_says_what_the_file_holds(file, capsys):
    cli.lint(Namespace(path=str(file)))
    assert capsys.readouterr().out == f"policy loads (1 sinks, 1 rules, {read_policy_file(file).digest})\n"


def test_lint_reads_the_configured_file_by_default(file, monkeypatch, capsys):
    monkeypatch.setenv("AIRFLOW__APPROVALS__POLICY_FILE", str(file))
    cli.lint(Namespace(path=None))
    assert capsys.readouterr().out.startswith("policy loads")


def test_lint_names_what_deserves_a_second_look(file, capsys):
    idle = {**EXAMPLE["sinks"][0], "id": "idle", "uri_prefix": "file:///idle"}
    groups = {**EXAMPLE["groups"], "nobody-asks": {"users": ["eve"]}}
    only = rule("one", when={"sink": "training-bucket"})
    document = {**with_rules(only), "dev_mode": True, "groups": groups, "sinks": [*EXAMPLE["sinks"], idle]}
    file.write_text(yaml.safe_dump(document))
    with pytest.raises(SystemExit) as ended:
        cli.lint(Namespace(path=str(file)))
    assert ended.value.code == cli.WARNINGS
    said = capsys.readouterr().out
    assert "NOT EVIDENCE" in said
    assert "no rule names sink idle" in said
    assert "no rule has a seat for group nobody-asks" in said


def test_lint_ends_with_the_error(file):
    file.write_text("version: 2\n")
    with pytest.raises(SystemExit, match=r"approvals: .*policy.yaml: sinks: is missing"):
        cli.lint(Namespace(path=str(file)))


def test_without_a_file_the_option_is_named():
    with pytest.raises(SystemExit, match=r"set \[approvals\] policy_file"):
        cli.lint(Namespace(path=None))


@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
class TestActivate:
    def test_puts_the_policy_in_force_and_writes_the_projection(self, database, file, projection, capsys):
        cli.activate(Namespace(path=str(file)))
        assert active() == read_policy_file(file)
        assert json.loads(projection.read_text()) == active().projection()
        assert stat.S_IMODE(projection.stat().st_mode) == 0o644
        assert sorted(p.name for p in projection.parent.iterdir() if "projection" in p.name) == [
            projection.name
        ]
        assert capsys.readouterr().out.startswith("policy is active")
        with read_session() as session:
            (entry,) = ledger.entries(session)
        assert entry["actor"].startswith("cli:")

    def test_says_when_parsers_will_not_hear_of_it(self, database, file, capsys):
        cli.activate(Namespace(path=str(file)))
        assert active() is not None
        assert "projection_file is not set" in capsys.readouterr().out

    def test_projection_without_a_folder_stops_it(self, database, file, projection, monkeypatch):
        monkeypatch.setenv("AIRFLOW__APPROVALS__PROJECTION_FILE", str(projection / "missing" / "p.json"))
        with pytest.raises(SystemExit, match="Nothing was activated"):
            cli.activate(Namespace(path=str(file)))
        assert active() is None

    def test_failed_activation_leaves_the_old_projection(self, database, file, projection):
        projection.write_text("old")
        database.execute("DELETE FROM approvals_ledger_head")
        with pytest.raises(SystemExit, match="lost its head"):
            cli.activate(Namespace(path=str(file)))
        assert projection.read_text() == "old"
        assert sorted(p.name for p in projection.parent.iterdir() if "projection" in p.name) == [
            projection.name
        ]

    def test_projection_that_cannot_be_replaced_is_told(self, database, file, projection):
        projection.mkdir()
        with pytest.raises(
            SystemExit, match=r"The policy is active, but the projection .* cannot be replaced"
        ):
            cli.activate(Namespace(path=str(file)))
        assert active() is not None
