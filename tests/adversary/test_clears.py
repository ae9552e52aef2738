"""Clears and deletes in forms that could slip past the record, or let an old approval go on."""

from __future__ import annotations

import json

import pytest

from tests.adversary.world import Scene

pytestmark = pytest.mark.live

#: What Airflow's API reads as "do it": pydantic's forms of false, then odd encodings of the body.
FALSE = (False, 0, 0.0, "0", "false", "FALSE", "off", "n", "No", "f")


@pytest.mark.scene("plain", shared="rehearsed")
def test_clear_spelled_as_if_it_were_a_rehearsal(parked: Scene, attacker: str) -> None:
    for spelled in FALSE:
        answer = parked.clear("use", dry_run=spelled)
        assert answer.status_code == 200, (spelled, answer.text)
    wanted = {"actor": parked.attacker, "act": "clear", "task_id": "use"}
    parked.until_entries(len(FALSE), "run_overridden", **wanted)
    assert parked.calls() == []


@pytest.mark.scene("plain", shared="rehearsed")
def test_clear_in_an_odd_body(parked: Scene) -> None:
    """A key given twice, and the same text in UTF-16."""
    body = {"dag_run_id": parked.run_id, "task_ids": ["gate"], "only_failed": False, "dry_run": False}
    twice = '{"dry_run": true, ' + json.dumps(body)[1:]
    client = parked.world.as_user("bob")
    path, headers = f"/api/v2/dags/{parked.dag_id}/clearTaskInstances", {"Content-Type": "application/json"}
    before = parked.request()["id"]
    for content in (twice.encode(), json.dumps(body).encode("utf-16")):
        answer = client.post(path, content=content, headers=headers)
        assert answer.status_code == 200, answer.text
    parked.world.until(lambda: parked.request()["id"] != before, "the gate asks again")
    refused = parked.world.vote(parked.request()["id"], "bob")
    assert (refused.status_code, refused.json()["code"]) == (403, "self_approval")
    parked.until_entries(2, "run_overridden", actor="bob", act="clear", task_id="gate")
    assert parked.calls() == []


@pytest.mark.core
@pytest.mark.scene("waiting")
def test_clear_the_gate_while_a_task_behind_it_runs(parked: Scene, attacker: str) -> None:
    parked.approve()
    parked.until_state("hold", "running")
    assert parked.clear("gate").status_code == 200
    killed = parked.until_entry("grant_killed")
    assert killed["details"]["because"] == "the gate was cleared"
    parked.until_state("gate", "awaiting_input")
    parked.let_go()
    parked.until_state("use", "failed", "upstream_failed")
    assert parked.calls() == []
    assert parked.entries("run_overridden", actor=parked.attacker, act="clear", task_id="gate")
    assert parked.entries("start_refused", task_id="use")


@pytest.mark.scene("waiting")
def test_clear_the_release_before_it_has_run(parked: Scene) -> None:
    """It still has its one use, and no second one after it."""
    parked.world.meant.add(parked.run_id)
    parked.approve()
    parked.until_state("hold", "running")
    assert parked.clear("use").status_code == 200
    parked.let_go()
    assert parked.finish() == "success"
    assert parked.clear("use").status_code == 200
    parked.until_entry("start_refused", task_id="use")
    assert parked.calls() == ["use"]
    parked.until_entries(2, "run_overridden", actor=parked.attacker, act="clear", task_id="use")


@pytest.mark.scene("plain")
def test_delete_the_gate_in_bulk(parked: Scene, attacker: str) -> None:
    entities = [{"task_id": "gate", "map_index": -1}]
    body = {"actions": [{"action": "delete", "entities": entities}]}
    answer = parked.call("PATCH", "/taskInstances", json=body, user="adam")
    assert answer.json()["delete"]["success"], answer.text
    assert parked.until_entry("run_overridden", task_id="gate", act="delete")["actor"] == "adam"
    parked.until_entry("request_withdrawn")
    parked.clear("use")
    parked.world.until(lambda: parked.finish() == "failed", "the run fails")
    assert parked.calls() == []


@pytest.mark.scene("plain")
def test_delete_the_run(parked: Scene) -> None:
    """Airflow forgets it, and the ledger does not."""
    request_id = parked.request()["id"]
    # One that is still under way is not deleted.
    assert parked.call("PATCH", user="adam", json={"state": "failed"}).status_code == 200
    assert parked.call("DELETE", user="adam").status_code == 204
    assert parked.until_entry("run_overridden", act="delete")["actor"] == "adam"
    parked.until_entry("request_withdrawn", request=request_id)
    assert parked.world.vote(request_id, "bob").status_code == 409
    assert parked.calls() == []
    assert parked.entries("request_registered", request=request_id)
    assert parked.entries("vote_refused", actor="bob", code="already_closed")
