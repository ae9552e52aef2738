from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
import yaml

from airflow_approvals.config.policy_file import read_policy_text
from airflow_approvals.errors import PolicyError
from airflow_approvals.store import ledger, policies
from airflow_approvals.store.session import read_session, run_transaction
from tests.core.policies import EXAMPLE, rule, with_rules

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FIRST = read_policy_text(yaml.safe_dump(EXAMPLE), "first")
SECOND = read_policy_text(yaml.safe_dump({**with_rules(rule("all")), "dev_mode": True}), "second")


@pytest.fixture(autouse=True)
def nothing_parsed_yet(monkeypatch):
    monkeypatch.setattr(policies, "_PARSED", {})


def activate(policy, actor="cli:ops"):
    run_transaction(lambda session: policies.store_and_activate(session, policy, actor=actor, now=NOW))


def active():
    with read_session() as session:
        return policies.active_policy(session)


def activations():
    with read_session() as session:
        return [(entry["actor"], entry["details"]) for entry in ledger.entries(session)]


def test_without_an_activation_there_is_no_policy(database):
    assert active() is None


def test_active_policy_is_the_one_that_was_activated_last(database):
    activate(FIRST)
    assert active() == FIRST
    activate(SECOND, actor="cli:carol")
    assert active() == SECOND
    assert activations() == [
        ("cli:ops", {"old": None, "new": FIRST.digest, "not_evidence": False}),
        ("cli:carol", {"old": FIRST.digest, "new": SECOND.digest, "not_evidence": True}),
    ]


def test_policy_can_be_activated_again_later(database):
    for policy in (FIRST, SECOND, FIRST):
        activate(policy)
    assert active() == FIRST
    with database.session() as session:
        digests = {row.digest for row in session.query(policies.PolicyRow)}
    assert digests == {FIRST.digest, SECOND.digest}


def test_policy_is_parsed_once(database):
    activate(FIRST)
    assert active() is active()


def test_activations_at_once_come_one_after_the_other(database):
    together = threading.Barrier(2)
    failures = []

    def switch(policy):
        try:
            together.wait(60)
            activate(policy)
        except Exception as error:
            failures.append(error)

    workers = [threading.Thread(target=switch, args=(policy,)) for policy in (FIRST, SECOND)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert failures == []
    (_, one), (_, other) = activations()
    assert one["old"] is None
    assert other["old"] == one["new"]
    assert active().digest == other["new"]


def test_text_that_is_not_what_its_digest_says_is_never_used(database):
    activate(FIRST)
    _drop_triggers(database)
    database.execute("UPDATE approvals_policy SET text = 'version: 1'")
    with pytest.raises(PolicyError, match="not what its digest says"):
        active()


def test_text_that_is_gone_is_told(database):
    activate(FIRST)
    _drop_triggers(database)
    database.execute("DELETE FROM approvals_policy")
    with pytest.raises(PolicyError, match="missing"):
        active()


def _drop_triggers(database):
    if database.name == "postgresql":
        database.execute("DROP TRIGGER approvals_policy_append_only ON approvals_policy")
        return
    for act in ("update", "delete"):
        database.execute(f"DROP TRIGGER approvals_policy_no_{act}")
