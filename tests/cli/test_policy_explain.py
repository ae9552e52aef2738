from __future__ import annotations

import json
from argparse import Namespace

import pytest
import yaml

from airflow_approvals.cli import policy as policy_cli
from airflow_approvals.cli import policy_explain as cli
from tests.core.policies import FULL, rule, with_rules


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(FULL))
    return path


def explained(file, capsys, **options):
    given = {"dag": "", "sink": "training-bucket", "action": "export", "label": "restricted", **options}
    cli.explain(Namespace(policy=str(file), **given))
    return capsys.readouterr().out.splitlines()


def test_explain_says_which_rules_match_and_what_has_to_happen(file, capsys):
    assert explained(file, capsys) == [
        "request: export of restricted data to sink training-bucket (connection training_bucket, "
        "file:///srv/training, run-bound) by DAG (any other); nobody has scanned the data",
        "rule unscanned-never-leaves (forbid) does not match: profile, not_scanned",
        "rule small-and-clean (permit) does not match: sink, label, dag, objects, bytes, residual, coverage",
        "rule two-groups (require) matches",
        "outcome: people decide, by two-groups",
        "  2 of data-owners: bob, carol",
        "  1 of security: FAB role Security Officer, login at most 12 hours ago",
        "  by api, teams, ui, within 8 hours",
        "  then good for 1 hour",
        "  the requester's reason fits .{10,}",
        "  each approver's reason fits (?:checked|sampled) .{3,}",
        "  the ticket fits [A-Z]{2,10}-[0-9]{1,7}",
        "  the custodian has verified the evidence",
        "  reminded after 1 hour, 4 hours",
        "  after 6 hours on-call is told as well",
        "  forbidden where nobody can be named who started the run",
        "  a rejection is final once the seats cannot be filled",
        "  stands for 5 more requests that are alike within 7 days",
    ]


def test_explain_says_what_is_forbidden_and_what_needs_no_vote(file, capsys):
    assert explained(file, capsys, action="publish")[-1] == "outcome: forbidden: no rule allows it"
    assert "not in the policy" in explained(file, capsys, sink="elsewhere")[0]
    free = {"id": "free", "when": {}, "effect": "permit", "grant_ttl": "PT90M"}
    file.write_text(yaml.safe_dump(with_rules(free)))
    assert explained(file, capsys)[-1] == (
        "outcome: permitted without a vote by free; good for 1 hour 30 minutes"
    )
    file.write_text(yaml.safe_dump(with_rules({"id": "never", "when": {}, "effect": "forbid"})))
    assert explained(file, capsys)[-1] == "outcome: forbidden by never"


def test_explain_knows_the_labels(file, capsys):
    with pytest.raises(SystemExit, match="unknown label; the labels are public"):
        explained(file, capsys, label="secret")


def test_tests_of_a_file_are_run(file, capsys):
    cli.run_tests(Namespace(path=str(file)))
    assert capsys.readouterr().out == "3 of 3 tests passed\n"


def test_failing_test_says_how_and_stops_lint_and_activation(file, capsys):
    given = {"sink": "training-bucket", "label": "restricted"}
    expect = {"effect": "require", "seats": {"data-owners": 1}, "rules": []}
    tests = [
        {"name": "one is enough", "given": given, "expect": expect},
        {"given": dict(given), "expect": "permit"},
    ]
    file.write_text(yaml.safe_dump({**FULL, "tests": tests}))
    with pytest.raises(SystemExit) as ended:
        cli.run_tests(Namespace(path=str(file)))
    assert ended.value.code == 1
    assert capsys.readouterr().out.splitlines() == [
        "failed: one is enough: the seats are 1 of security, 2 of data-owners, not 1 of data-owners; "
        "the rules are two-groups, not none.",
        "failed: tests[1]: the effect is require, not permit.",
        "0 of 2 tests passed",
    ]
    for command in (policy_cli.lint, policy_cli.activate):
        with pytest.raises(SystemExit, match=r"fails its own tests\. one is enough: the seats"):
            command(Namespace(path=str(file)))


def test_broken_file_is_one_sentence(file):
    file.write_text("version: 2\n")
    with pytest.raises(SystemExit, match=r"approvals: .*policy.yaml: sinks: is missing"):
        cli.run_tests(Namespace(path=str(file)))


def test_schema_is_printed(capsys):
    cli.schema(Namespace())
    assert json.loads(capsys.readouterr().out)["properties"]["version"] == {"const": 1}


def test_lint_warns_of_groups_that_an_administrator_can_edit(file, capsys):
    glass = {**FULL["break_glass"], "reviewers": "security"}
    groups = {**FULL["groups"], "security": {"fab_role": "Security Officer"}}
    file.write_text(yaml.safe_dump({**FULL, "groups": groups, "break_glass": glass}))
    with pytest.raises(SystemExit) as ended:
        policy_cli.lint(Namespace(path=str(file)))
    assert ended.value.code == policy_cli.WARNINGS
    said = capsys.readouterr().out
    assert "warning: rule two-groups: an Airflow administrator can put anybody into group security" in said
    assert "warning: break_glass: an Airflow administrator can put anybody into group security" in said
    assert "note: no rule has a seat for group platform" in said


def test_lint_only_notes_a_role_that_comes_from_the_identity_provider(file, capsys):
    file.write_text(yaml.safe_dump(FULL))
    with pytest.raises(SystemExit) as ended:
        policy_cli.lint(Namespace(path=str(file)))
    said = capsys.readouterr().out
    assert "note: group security: the policy says that an identity provider fills it at each login" in said
    warned = [line for line in said.splitlines() if line.startswith("warning")]
    assert ended.value.code == policy_cli.WARNINGS
    assert [line.partition(":")[2].split()[0] for line in warned] == ["identities.slack.email:", "rule"]
    assert "permits by what a task says" in warned[1]


def test_lint_notes_a_rule_of_one_person(file, capsys):
    groups = {"data-owners": {"users": ["bob"]}}
    file.write_text(yaml.safe_dump({**with_rules(rule("lonely")), "groups": groups}))
    policy_cli.lint(Namespace(path=str(file)))
    assert "note: rule lonely has one person" in capsys.readouterr().out
