"""An approval is for one release: not for a second task, a second copy, or whatever else may run."""

from __future__ import annotations

import pytest

from tests.adversary.world import Scene

pytestmark = pytest.mark.live


@pytest.mark.core
@pytest.mark.scene("two_users")
def test_second_task_uses_the_grant(parked: Scene) -> None:
    parked.world.meant.add(parked.run_id)
    parked.approve()
    assert parked.finish() == "failed"
    assert parked.calls() == ["first"]
    assert parked.entries("credential_handed_out", task_id="first")
    refused = parked.entries("credential_refused", task_id="second")
    assert "the approval is" in refused[0]["details"]["because"]


@pytest.mark.scene("mapped_use")
def test_mapped_release_of_a_grant_for_one(parked: Scene) -> None:
    parked.world.meant.add(parked.run_id)
    parked.approve()
    assert parked.finish() == "failed"
    assert parked.calls() == ["use"]
    (handed,) = parked.entries("credential_handed_out", task_id="use")
    (refused,) = parked.entries("credential_refused", task_id="use")
    assert {handed["map_index"], refused["map_index"]} == {0, 1}


@pytest.mark.scene("failing")
def test_failed_release_tries_again_until_it_succeeds(parked: Scene) -> None:
    """It sends and then fails. Whoever calls that a success has used the grant up.

    That it sends twice is what run-bound means: the ledger counts each hand-out.
    """
    parked.world.meant.add(parked.run_id)
    parked.approve()
    assert parked.finish() == "failed"
    assert parked.clear("use").status_code == 200
    parked.world.until(lambda: len(parked.calls()) == 2, "the release tries again")
    assert parked.finish() == "failed"
    assert parked.call("PATCH", "/taskInstances/use", json={"new_state": "success"}).status_code == 200
    assert parked.clear("use").status_code == 200
    parked.until_entry("start_refused", task_id="use")
    assert parked.calls() == ["use", "use"]
    assert [entry["details"]["hand_out"] for entry in parked.entries("credential_handed_out")] == [1, 2]
    overridden = parked.entries("run_overridden", actor=parked.attacker, task_id="use")
    assert [entry["details"]["act"] for entry in overridden] == ["clear", "mark", "clear"]


@pytest.mark.scene("lenient")
def test_trigger_rules_that_ask_for_no_success(parked: Scene) -> None:
    """While the gate is parked, and after people have said no."""
    parked.until_entry("credential_refused", task_id="at_once")
    assert parked.world.vote(parked.request()["id"], "bob", "reject").status_code == 200
    parked.finish()
    assert parked.calls() == []
    for task_id in ("whatever", "one_done"):
        assert parked.entries("credential_refused", task_id=task_id)
    assert parked.entries("request_rejected", actor="bob")


@pytest.mark.scene("short_circuit")
def test_skip_past_the_gate(scene: Scene) -> None:
    """The gate is skipped by a task above it, and the release is content with that."""
    scene.finish()
    assert scene.state("gate") == "skipped"
    assert scene.calls() == []
    assert scene.entries("start_refused", task_id="use")
