"""What was approved is changed behind people's backs: the destination, the rules, who has a seat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.adversary.sinks import Sink
from tests.adversary.world import Asked, Scene, World, run_commands

pytestmark = pytest.mark.live

TO_B = {"sink": "sink-b", "connection": "sink_b"}


@contextmanager
def edited_connection(scene: Scene) -> Iterator[Sink]:
    """Let an administrator point the Connection of sink-b at an endpoint of their own."""
    with Sink() as theirs:
        edit(scene, theirs)
        try:
            yield theirs
        finally:
            edit(scene, scene.world.sinks[1])


def edit(scene: Scene, sink: Sink) -> None:
    body = {"connection_id": "sink_b", "conn_type": "generic", "port": sink.port}
    answer = scene.world.as_user("adam").patch(
        "/api/v2/connections/sink_b", params={"update_mask": "port"}, json=body
    )
    assert answer.status_code == 200, answer.text


@pytest.mark.core
@pytest.mark.scene("plain", user="adam", **TO_B)
def test_the_connection_is_edited_during_the_wait(parked: Scene) -> None:
    with edited_connection(parked) as theirs:
        parked.approve()
        assert parked.finish() == "failed"
        assert theirs.calls() == parked.calls() == []
    assert (
        parked.entries("grant_killed")[0]["details"]["because"] == "its fingerprint is not what was approved"
    )
    assert parked.entries("credential_refused", task_id="use")


@pytest.mark.scene("waiting", user="adam", **TO_B)
def test_the_connection_is_edited_after_the_approval(parked: Scene) -> None:
    parked.approve()
    parked.until_state("hold", "running")
    with edited_connection(parked) as theirs:
        parked.let_go()
        assert parked.finish() == "failed"
        assert theirs.calls() == parked.calls() == []
    assert (
        parked.entries("grant_killed")[0]["details"]["because"] == "its fingerprint is not what was approved"
    )
    assert parked.entries("credential_refused", task_id="use")


#: Rule or group -> what the policy says from then on.
REPLACED = {
    "sink: sink-a, action: tighten}\n    effect: require\n    seats: [{group: owners, count: 1}]":
    "sink: sink-a, action: tighten}\n    effect: require\n    seats: [{group: owners, count: 2}]",
    "sink: sink-a, action: loosen}\n    effect: require\n    seats: [{group: owners, count: 1}, "
    "{group: security, count: 1}]":
    "sink: sink-a, action: loosen}\n    effect: require\n    seats: [{group: owners, count: 1}]",
    "leavers: {users: [bob]}": "leavers: {users: [carol]}",
}  # fmt: skip


@pytest.fixture(scope="module")
def replaced(world: World) -> Iterator[dict[str, Scene]]:
    """Runs on which bob has voted, and then another policy: tighter, looser, without bob."""
    runs = {
        action: world.scene(action, Asked(dag_id, "rita", (("action", action),), action))
        for action, dag_id in (("tighten", "waiting"), ("loosen", "plain"), ("depart", "waiting"))
    }
    for run in runs.values():
        run.until_state("gate", "awaiting_input")
        assert world.vote(run.request()["id"], "bob").status_code == 200
    for action in ("tighten", "depart"):
        runs[action].until_state("hold", "running")
    with another_policy(world):
        yield runs


@contextmanager
def another_policy(world: World) -> Iterator[None]:
    file = world.home / "policy.yaml"
    before = after = file.read_text()
    for old, new in REPLACED.items():
        assert after.count(old) == 1, old
        after = after.replace(old, new)
    try:
        file.write_text(after)
        run_commands(world.airflow, [["approvals", "policy", "activate"]])
        yield
    finally:
        file.write_text(before)
        run_commands(world.airflow, [["approvals", "policy", "activate"]])


@pytest.mark.scene("waiting", shared="tighten", action="tighten")
def test_the_policy_is_tightened_after_the_approval(replaced: dict[str, Scene]) -> None:
    run = replaced["tighten"]
    run.let_go()
    assert run.finish() == "failed"
    assert run.calls() == []
    assert run.entries("grant_killed")[0]["details"]["because"] == "its policy is not what was approved"
    assert run.entries("credential_refused", task_id="use")
    assert len(run.world.entries(kind="policy_activated")) >= 2


@pytest.mark.scene("plain", shared="loosen", action="loosen")
def test_the_policy_is_loosened_during_the_wait(replaced: dict[str, Scene]) -> None:
    """One seat would be enough by now; the request was registered under two."""
    run = replaced["loosen"]
    assert run.world.vote(run.request()["id"], "adam").status_code == 200
    assert run.request()["state"] == "pending"
    assert run.state("gate") == "awaiting_input"
    assert run.calls() == []
    assert run.entries("grant_issued") == []
    assert run.world.entries(kind="policy_activated")


@pytest.mark.scene("waiting", shared="depart", action="depart")
def test_the_approver_leaves_the_group_before_the_release(replaced: dict[str, Scene]) -> None:
    run = replaced["depart"]
    run.let_go()
    assert run.finish() == "failed"
    assert run.calls() == []
    assert run.entries("grant_killed")
    assert run.entries("credential_refused", task_id="use")
