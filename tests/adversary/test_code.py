"""DAG code that is changed, disguised or lenient, and runs that are told to ask for less."""

from __future__ import annotations

import pytest

from tests.adversary.world import Scene

pytestmark = pytest.mark.live


@pytest.mark.core
@pytest.mark.scene("redeployed")
def test_the_dag_is_redeployed_during_the_wait(parked: Scene) -> None:
    """The author makes half a release a whole one while people think."""
    file = parked.world.home / "dags" / "redeployed.py"
    file.write_text(file.read_text().replace('"which": "half"', '"which": "whole"'))
    parked.world.until(lambda: versions(parked) > 1, "the new version is known")
    parked.approve()
    assert parked.finish() == "failed"
    assert parked.calls() == []
    assert parked.until_entry("grant_killed")["details"]["because"].startswith("its dag_hash is not")
    assert parked.entries("credential_refused", task_id="use")


def versions(scene: Scene) -> int:
    answer = scene.world.as_user("alice").get(f"/api/v2/dags/{scene.dag_id}/dagVersions")
    return int(answer.raise_for_status().json()["total_entries"])


@pytest.mark.scene("edited_body")
def test_a_function_is_edited_during_the_wait(parked: Scene) -> None:
    """The body of a function is no part of the serialized DAG, so no new version tells of it."""
    file = parked.world.home / "dags" / "edited_body.py"
    file.write_text(file.read_text().replace("quote(which, safe='')", "quote('edited', safe='')"))
    source = parked.world.as_user("alice").get
    parked.world.until(
        lambda: "quote('edited'" in source("/api/v2/dagSources/edited_body").text, "the edit is known"
    )
    assert versions(parked) == 1
    parked.approve()
    assert parked.finish() == "failed"
    assert parked.calls() == []
    assert parked.entries("credential_refused", task_id="use")


@pytest.mark.scene("renamed")
def test_a_gate_by_another_name_that_opens_itself(parked: Scene) -> None:
    """A subclass succeeds whatever people said."""
    parked.world.vote(parked.request()["id"], "bob", "reject")
    assert parked.finish() == "failed"
    assert parked.state("gate") == "success"
    assert parked.calls() == []
    assert parked.entries("start_refused", task_id="use")


@pytest.mark.scene("mapped_gates")
def test_a_mapped_gate_of_which_one_index_is_approved(scene: Scene) -> None:
    for index, verdict in ((0, "approve"), (1, "reject")):
        answer = scene.world.vote(scene.world.request(scene.run_id, index)["id"], "bob", verdict)
        assert answer.status_code == 200, answer.text
    assert scene.finish() == "failed"
    assert (scene.state("gate", 0), scene.state("gate", 1)) == ("success", "success")
    assert scene.calls() == []
    assert scene.entries("start_refused", task_id="use")


@pytest.mark.scene("soft")
def test_a_rejected_gate_that_skips_before_a_lenient_release(parked: Scene) -> None:
    """``soft_fail`` makes the gate skip, and ``none_failed`` lets the release follow."""
    parked.world.vote(parked.request()["id"], "bob", "reject")
    assert parked.finish() == "failed"
    assert parked.state("gate") == "skipped"
    assert parked.calls() == []
    assert parked.entries("start_refused", task_id="use")


@pytest.mark.scene("plain", sink="sink-b")
def test_a_run_that_asks_for_one_sink_and_opens_another(parked: Scene) -> None:
    """The approval is for sink-b; the release opens sink-a."""
    assert parked.request()["sink"] == "sink-b"
    parked.approve()
    assert parked.finish() == "failed"
    assert parked.calls() == []
    assert parked.entries("credential_refused", task_id="use")


@pytest.mark.scene("plain", action="label")
def test_a_run_that_asks_by_a_lighter_rule(parked: Scene) -> None:
    """A permit for internal data does not let through data that nobody has looked at."""
    request = parked.request()
    assert (request["state"], request["label"]) == ("pending", "restricted")
    parked.approve()
    assert parked.request()["state"] == "pending", "one vote is not two"
    assert parked.world.vote(request["id"], "dave", "reject").status_code == 200
    assert parked.finish() == "failed"
    assert parked.calls() == []
    assert parked.entries("request_rejected")


@pytest.mark.scene("plain", action="whatever")
def test_a_run_that_asks_for_an_action_nobody_knows(scene: Scene) -> None:
    assert scene.finish() == "failed"
    assert scene.calls() == []
    assert scene.entries("request_forbidden")
