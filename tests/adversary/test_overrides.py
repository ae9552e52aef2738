"""Marking, skipping, clearing and deleting, as a user and as an administrator: nothing is released."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adversary.world import ATTACKERS, Scene

pytestmark = pytest.mark.live


def gate_as(state: str) -> dict[str, Any]:
    return {
        "actions": [
            {"action": "update", "entities": [{"task_id": "gate", "map_index": -1, "new_state": state}]}
        ]
    }


@pytest.mark.core
@pytest.mark.scene("plain")
def test_mark_success(parked: Scene, attacker: str) -> None:
    answer = parked.call("PATCH", "/taskInstances/gate", json={"new_state": "success"})
    assert answer.status_code == 200, answer.text
    assert parked.finish() == "failed"
    assert parked.calls() == []
    assert parked.until_entry("run_overridden", task_id="gate", act="mark")["actor"] == parked.attacker
    assert parked.entries("start_refused", task_id="use")


@pytest.mark.core
@pytest.mark.scene("plain")
def test_mark_success_in_bulk(parked: Scene, attacker: str) -> None:
    answer = parked.call("PATCH", "/taskInstances", json=gate_as("success"))
    assert answer.json()["update"]["success"], answer.text
    assert parked.finish() == "failed"
    assert parked.calls() == []
    assert parked.until_entry("run_overridden", task_id="gate", act="mark")["actor"] == parked.attacker
    assert parked.entries("start_refused", task_id="use")


@pytest.mark.scene("grouped")
def test_mark_success_of_the_group(scene: Scene, attacker: str) -> None:
    scene.until_state("guard.gate", "awaiting_input")
    answer = scene.call("PATCH", "/taskGroupInstances/guard", json={"new_state": "success"})
    assert answer.status_code == 200, answer.text
    assert scene.finish() == "failed"
    assert scene.calls() == []
    assert scene.until_entry("run_overridden", act="mark")["actor"] == scene.attacker
    assert scene.entries("start_refused", task_id="use")


@pytest.mark.scene("lenient")
def test_skip_the_gate(parked: Scene, attacker: str) -> None:
    answer = parked.call("PATCH", "/taskInstances/gate", json={"new_state": "skipped"})
    assert answer.status_code == 200, answer.text
    parked.finish()
    assert parked.calls() == []
    assert parked.until_entry("run_overridden", task_id="gate", act="mark")["actor"] == parked.attacker
    assert parked.entries("credential_refused", task_id="whatever")


@pytest.mark.scene("plain")
def test_mark_the_run_and_clear_the_release(parked: Scene, attacker: str) -> None:
    answer = parked.call("PATCH", json={"state": "success"})
    assert answer.status_code == 200, answer.text
    assert parked.clear("use").status_code == 200
    parked.until_entry("start_refused", task_id="use")
    assert parked.calls() == []
    acts = {entry["details"]["act"] for entry in parked.entries("run_overridden", actor=parked.attacker)}
    assert acts == {"mark", "clear"}


@pytest.mark.core
@pytest.mark.scene("plain")
def test_delete_the_gate(parked: Scene, attacker: str) -> None:
    answer = parked.call("DELETE", "/taskInstances/gate", user="adam")
    assert answer.status_code == 200, answer.text
    entry = parked.until_entry("run_overridden", task_id="gate", act="delete")
    assert entry["actor"] == "adam"
    parked.until_entry("request_withdrawn")
    parked.clear("use", user="adam")
    parked.world.until(lambda: parked.finish() == "failed", "the run fails")
    assert parked.calls() == []


@pytest.mark.core
@pytest.mark.scene("plain")
def test_replay_by_clearing_the_release(parked: Scene, attacker: str) -> None:
    parked.world.meant.add(parked.run_id)
    parked.approve()
    assert parked.finish() == "success"
    assert parked.calls() == ["use"]
    assert parked.clear("use").status_code == 200
    parked.until_entry("start_refused", task_id="use")
    assert parked.finish() == "failed"
    assert parked.calls() == ["use"]
    cleared = parked.until_entry("run_overridden", task_id="use", act="clear")
    assert cleared["actor"] == ATTACKERS[attacker]
    assert parked.entries("grant_killed")
