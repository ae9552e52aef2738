"""On PostgreSQL with two API servers: opposite verdicts at once, and a server killed mid-way."""

from __future__ import annotations

import contextlib
import os
import threading
import time

import httpx
import pytest
from sqlalchemy import Engine, create_engine, text

from tests.flows.gated import Gated

pytestmark = [pytest.mark.live, pytest.mark.soak]

SOAK = bool(os.environ.get("APPROVALS_SOAK"))
ROUNDS = 50 if SOAK else 3
KILLS = 10 if SOAK else 1


def both_at_once(pair: Gated, request_id: str) -> list[tuple[str, float, float, httpx.Response]]:
    """Bob approves at one server while carol rejects at the other, released by a barrier."""
    barrier = threading.Barrier(2)
    answers: list[tuple[str, float, float, httpx.Response]] = []

    def cast(user: str, verdict: str, server: int) -> None:
        client = pair.airflow.client(user, server=server)
        barrier.wait()
        started = time.monotonic()
        answer = client.post(f"/approvals/api/v1/requests/{request_id}/votes", json={"verdict": verdict})
        answers.append((verdict, started, time.monotonic(), answer))

    threads = [
        threading.Thread(target=cast, args=("bob", "approve", 0)),
        threading.Thread(target=cast, args=("carol", "reject", 1)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def _overlapping(pair: Gated) -> tuple[str, str, list[tuple[str, float, float, httpx.Response]]]:
    """Ask and answer until the two calls overlap: a busy machine may run one before the other."""
    for _ in range(5):
        run_id = pair.ask("plain")
        request_id = pair.request(run_id)["id"]
        answers = both_at_once(pair, request_id)
        if max(started for _, started, _, _ in answers) < min(ended for _, _, ended, _ in answers):
            return run_id, request_id, answers
    raise AssertionError("the two calls never overlapped")


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_opposite_verdicts_at_once_make_one_decision(pair: Gated, round_: int) -> None:
    run_id, request_id, answers = _overlapping(pair)
    (first, _, _, answer_1), (second, _, _, answer_2) = answers
    assert sorted([answer_1.status_code, answer_2.status_code]) == [200, 409]
    winner = first if answer_1.status_code == 200 else second
    decided = {"approve": "approved", "reject": "rejected"}[winner]
    state = pair.finish("plain", run_id)
    assert state == ("success" if decided == "approved" else "failed")
    request = pair.request(run_id)
    assert request["state"] == decided
    assert [vote["verdict"] for vote in request["votes"]] == [winner]
    assert len(pair.entries(request=request_id, kind="vote_cast")) == 1
    assert len(pair.entries(request=request_id, kind=f"request_{decided}")) == 1
    assert len(pair.uses(run_id)) == (1 if decided == "approved" else 0)
    inbox = pair.as_user("alice").get(
        f"/api/v2/dags/plain/dagRuns/{run_id}/taskInstances/gate/-1/hitlDetails/tries/2"
    )
    assert inbox.json()["chosen_options"] == ["Approve" if decided == "approved" else "Reject"]


@pytest.mark.parametrize("round_", range(KILLS))
def test_a_server_killed_in_the_middle_of_a_decision_leaves_nothing_half(
    pair: Gated, postgres_url: str, round_: int
) -> None:
    """One request is killed with its vote written and not committed, another between its two votes."""
    half = pair.ask("plain", action="publish")
    half_id = pair.request(half)["id"]
    assert pair.vote(half_id, "carol").json()["state"] == "pending"
    run_id = pair.ask("plain")
    request_id = pair.request(run_id)["id"]
    engine = create_engine(postgres_url)
    with engine.connect() as holder:
        # The ledger's head is the last lock a decision takes: the vote is written, not committed.
        holder.execute(text("SELECT seq FROM approvals_ledger_head FOR UPDATE"))
        voter = threading.Thread(target=_vote_in_vain, args=(pair, request_id))
        voter.start()
        pair.until(lambda: _waits_for_lock(engine), "the decision waits for the ledger's head")
        pair.airflow.kill_api_server(0)
        voter.join()
        holder.rollback()
    engine.dispose()
    pair.airflow.restart_api_server(0)
    assert pair.request(run_id)["votes"] == []
    assert pair.vote(request_id, "bob").json()["state"] == "approved"
    assert pair.vote(half_id, "dave").json()["state"] == "approved"
    for run in (run_id, half):
        assert pair.finish("plain", run) == "success"
        assert len(pair.uses(run)) == 1
    assert len(pair.entries(request=request_id, kind="vote_cast")) == 1
    assert len(pair.entries(request=half_id, kind="vote_cast")) == 2
    assert "ledger verifies" in pair.airflow.airflow("approvals", "ledger", "verify").stdout


def _vote_in_vain(pair: Gated, request_id: str) -> None:
    with pair.airflow.client("bob") as client, contextlib.suppress(httpx.HTTPError):
        client.post(f"/approvals/api/v1/requests/{request_id}/votes", json={"verdict": "approve"})


def _waits_for_lock(engine: Engine) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with engine.connect() as looker:
        return bool(looker.execute(text(waiting)).scalar())
