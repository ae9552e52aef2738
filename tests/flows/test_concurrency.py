"""On PostgreSQL with two API servers: opposite verdicts at once, and a server killed mid-way."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.flows.conftest import deploy
from tests.flows.gated import Gated

pytestmark = pytest.mark.xdist_group("flows-postgres")

ROUNDS = 50 if os.environ.get("APPROVALS_SOAK") else 4


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, postgres_url: str) -> Iterator[Gated]:
    """A deployment on PostgreSQL with two API server processes."""
    home = tmp_path_factory.mktemp("pair")
    deployment = deploy(home, database=postgres_url, api_servers=2)
    deployment.start()
    try:
        deployment.wait_healthy()
        yield Gated(deployment, home)
    finally:
        deployment.stop()


def both_at_once(pair: Gated, request_id: str) -> list[tuple[str, float, float, httpx.Response]]:
    """Bob approves at one server while carol rejects at the other, released by a barrier."""
    import time

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


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_opposite_verdicts_at_once_make_one_decision(pair: Gated, round_: int) -> None:
    run_id = pair.ask("plain")
    request_id = pair.request(run_id)["id"]
    (first, started_1, ended_1, answer_1), (second, started_2, ended_2, answer_2) = both_at_once(
        pair, request_id
    )
    assert max(started_1, started_2) < min(ended_1, ended_2), "the two calls did not overlap"
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
