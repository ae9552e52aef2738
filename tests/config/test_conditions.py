from __future__ import annotations

import copy
import sys
from dataclasses import replace

import pytest

from airflow_approvals.config import conditions
from airflow_approvals.core.bar import Effect
from airflow_approvals.core.classification import Label
from airflow_approvals.core.facts import Facts
from airflow_approvals.core.policy_parsing import parse_policy
from airflow_approvals.errors import PolicyError
from tests.core.policies import rule, with_rules

FACTS = Facts(
    "export", "training-bucket", Label.INTERNAL, "daily", rows=10, residual=0, scanned=99, total=100
)


def policy(source, effect="permit"):
    asking = rule("conditional", **{"if": source, "effect": effect})
    if effect != "require":
        asking = {key: asking[key] for key in ("id", "when", "effect", "if")}
    return parse_policy(with_rules(asking), "", conditions.compiler())


@pytest.mark.parametrize(
    ("source", "holds"),
    [
        ("evidence.residual == 0 && evidence.coverage >= 0.98", True),
        ("data.rows > 10", False),
        ("level >= 1 && dag.startsWith('dai')", True),
        ("label in ['public', 'internal']", True),
        ("!unattributed && !evidence.verified", True),
        ("has(evidence.residual)", True),
    ],
)
def test_condition_is_asked_of_the_facts(source, holds):
    assert policy(source).rules[0].matches(FACTS) is holds


@pytest.mark.parametrize(("effect", "matches"), [("permit", False), ("require", True), ("forbid", True)])
def test_what_cannot_be_answered_never_helps(effect, matches):
    (only,) = policy("evidence.residual == 0", effect).rules
    assert only.matches(replace(FACTS, residual=None)) is matches
    (only,) = policy("100 / data.rows > 5", effect).rules
    assert only.matches(replace(FACTS, rows=0)) is matches


def test_only_true_permits():
    (only,) = policy("data.rows > 5 ? true : dag", "permit").rules
    assert only.matches(FACTS)
    assert not only.matches(replace(FACTS, rows=1, dag_id="true"))


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("data.rows >", "is no condition"),
        ("data.row > 1", "is no condition"),
        ("rows > 1", "is no condition"),
        ("1", "must be true or false, and is int"),
        ("'true'", "must be true or false, and is str"),
        ("[1, 2].all(x, x > 0)", r"must do without all\(\)"),
        ("[1, 2] . exists (x, x > 0)", r"must do without exists\(\)"),
        ("[1, 2].existsOne(x, x > 0)", r"must do without existsOne\(\)"),
        ("[1].map(x, x) == [1]", r"must do without map\(\)"),
        ("[1].filter(x, true) == [1]", r"must do without filter\(\)"),
        ("label >= 'internal'", "use level"),
        ("'internal' <= label", "use level"),
        ("true || " * 80 + "true", "at most 500 characters"),
        ("(" * 200 + "true" + ")" * 200, "is no condition"),
        ("", "must be 1 to"),
    ],
)
def test_what_is_no_condition_does_not_load(source, problem):
    with pytest.raises(PolicyError, match=rf"rules\[0\]\.if: .*{problem}"):
        policy(source)


def test_equal_sources_are_equal_conditions():
    assert policy("level > 1") == policy("level > 1")
    assert policy("level > 1") != policy("level > 2")
    assert copy.copy(policy("level > 1")).judge(FACTS).effect is Effect.FORBID


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cel", None)
    monkeypatch.setattr(conditions, "find_spec", lambda name: None)
    with pytest.raises(PolicyError, match=r"rules\[0\]\.if: .*airflow-approvals\[cel\]"):
        policy("true")
