from __future__ import annotations

from pathlib import Path

import pytest
from gated_dag import ROOM, dag

from airflow_approvals.testing import approve, reject

POLICY = Path(__file__).with_name("policy.yaml")
BOTH = {"gate": [approve("bob"), approve("carol")]}


@pytest.fixture(autouse=True)
def policy(approvals):
    for left in ("released", "stolen"):
        (ROOM / left).unlink(missing_ok=True)
    approvals.use_policy(POLICY)


def test_two_owners_release(approvals):
    run = approvals.run(dag, requested_by="alice", votes=BOTH)
    assert (run.outcome("gate"), run.state("release")) == ("approved", "success")
    assert (ROOM / "released").read_text() == "sink.invalid"
    assert "credential_handed_out" in run.ledger()
    # The credential ring is up: a task that stands behind no gate gets nothing.
    assert run.state("walk_around") == "failed"
    assert not (ROOM / "stolen").exists()


def test_the_requester_is_no_voter(approvals):
    run = approvals.run(dag, requested_by="bob", votes=BOTH)
    assert run.refusals("gate") == ["self_approval"]
    assert (run.outcome("gate"), run.state("release")) == ("expired", "upstream_failed")
    assert not (ROOM / "released").exists()


def test_a_rejection_is_final_and_other_channels_only_view(approvals):
    run = approvals.run(dag, votes={"gate": [approve("bob", channel="api"), reject("carol")]})
    assert run.refusals("gate") == ["channel_views_only"]
    assert run.outcome("gate") == "rejected"
    assert run.state("release") != "success"


def test_every_record_says_that_it_is_no_evidence(approvals):
    from airflow_approvals.store import ledger
    from airflow_approvals.store.session import run_read

    run = approvals.run(dag, votes=BOTH)
    entries = run_read(lambda session: ledger.entries(session, limit=10_000))
    votes = [one for one in entries if one.get("run_id") == run.run_id and one["kind"] == "vote_cast"]
    assert [one["details"]["not_evidence"] for one in votes] == [True, True]
