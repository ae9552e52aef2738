"""Silence, late answers, late uses, and two answers at one moment."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import httpx
import pytest

from tests.adversary.world import Scene

pytestmark = pytest.mark.live


@pytest.mark.scene("plain", action="quick")
def test_silence(scene: Scene) -> None:
    """The rule gives people two seconds."""
    assert scene.finish() == "failed"
    assert scene.request()["state"] == "expired"
    assert scene.calls() == []
    assert scene.entries("request_expired", task_id="gate")


@pytest.mark.scene("plain", action="quick")
def test_approval_after_the_time(scene: Scene) -> None:
    scene.until_entry("request_expired")
    native = scene.world.answer(scene.dag_id, scene.run_id, "bob")
    rest = scene.world.vote(scene.request()["id"], "bob")
    assert [native.status_code, rest.status_code] == [409, 409]
    assert rest.json()["code"] == "already_closed"
    assert scene.finish() == "failed"
    assert scene.calls() == []
    assert len(scene.entries("vote_refused", actor="bob", code="already_closed")) == 2


@pytest.mark.scene("waiting", action="brief")
def test_grant_used_late(parked: Scene) -> None:
    """The rule lets an approval be used within one second."""
    parked.approve()
    parked.until_state("hold", "running")
    not_after = datetime.fromisoformat(parked.request()["grant"]["not_after"])
    parked.world.until(lambda: datetime.now(UTC) > not_after, "the grant's time is up")
    parked.let_go()
    assert parked.finish() == "failed"
    assert parked.calls() == []
    assert parked.entries("grant_expired")
    assert parked.entries("credential_refused", task_id="use")


@pytest.mark.core
@pytest.mark.scene("plain")
def test_yes_and_no_at_one_moment(parked: Scene) -> None:
    """One of them is the decision, and the other is told so and entered."""
    parked.world.meant.add(parked.run_id)
    answers = at_once(parked, {"bob": "approve", "carol": "reject"})
    statuses = {user: answer.status_code for user, answer in answers.items()}
    assert sorted(statuses.values()) == [200, 409]
    winner = next(user for user, status in statuses.items() if status == 200)
    loser = next(user for user in statuses if user != winner)
    assert parked.finish() == ("success" if winner == "bob" else "failed")
    assert parked.calls() == (["use"] if winner == "bob" else [])
    assert [entry["actor"] for entry in parked.entries("vote_cast")] == [winner]
    assert parked.entries("vote_refused", actor=loser, code="already_closed")


def at_once(scene: Scene, verdicts: dict[str, str]) -> dict[str, httpx.Response]:
    request_id, answers = scene.request()["id"], dict[str, httpx.Response]()
    clients = {user: scene.world.as_user(user) for user in verdicts}
    barrier = threading.Barrier(len(verdicts))

    def cast(user: str) -> None:
        barrier.wait()
        answers[user] = clients[user].post(
            f"/approvals/api/v1/requests/{request_id}/votes", json={"verdict": verdicts[user]}
        )

    threads = [threading.Thread(target=cast, args=(user,)) for user in verdicts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
