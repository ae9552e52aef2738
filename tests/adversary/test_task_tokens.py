"""What code inside a task can say to the server with its token: the Execution API."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.adversary.insider import Insider
from tests.adversary.sinks import PASSWORD
from tests.adversary.world import SLACK_SECRET, Scene

pytestmark = pytest.mark.live

YES = {"chosen_options": ["Approve"], "params_input": {}}
#: The oldest version that is served, one between, and the newest.
VERSIONS = ("2025-04-11", "2025-09-23", "2026-06-30")
SPELLINGS = ("sink_a", "%73ink_a", "s%69nk%5Fa", "sink_a?team_name=x")


def elsewhere(scene: Scene, user: str = "carol") -> Insider:
    """A task of another person's run, in a DAG without a gate."""
    run = scene.world.new("no_gate", user)
    scene.world.until(lambda: run.state() is not None, "the other run has its task")
    return run.insider("use")


def assert_still_shut(scene: Scene) -> None:
    assert scene.request()["state"] == "pending"
    assert scene.state("gate") == "awaiting_input"
    assert scene.calls() == []


@pytest.mark.core
@pytest.mark.scene("plain", shared="pushed")
def test_answer_with_the_gates_own_token(parked: Scene) -> None:
    gate = parked.insider("gate")
    for version in VERSIONS:
        body = {"ti_id": gate.ti_id, **YES}
        answer = gate.call("PATCH", f"/hitlDetails/{gate.ti_id}", body, version)
        assert answer.status_code == 409, answer.text
    assert_still_shut(parked)
    assert len(parked.entries("foreign_answer_refused", task_id="gate", task="plain.gate")) == 3


@pytest.mark.scene("plain", shared="pushed")
def test_answer_with_another_tasks_token(parked: Scene) -> None:
    gate, other = parked.insider("gate"), elsewhere(parked)
    answer = other.call("PATCH", f"/hitlDetails/{gate.ti_id}", {"ti_id": gate.ti_id, **YES})
    assert answer.status_code in (403, 409), answer.text
    assert_still_shut(parked)
    assert parked.entries("foreign_answer_refused", task_id="gate", task="no_gate.use")


@pytest.mark.scene("plain", shared="pushed")
def test_move_the_parked_gate_on(parked: Scene) -> None:
    """Its own token says that it has succeeded, and that it runs again."""
    gate, now = parked.insider("gate"), datetime.now(UTC).isoformat()
    done = {"state": "success", "end_date": now, "task_outlets": [], "outlet_events": []}
    runs = {"state": "running", "hostname": "here", "unixname": "me", "pid": 1, "start_date": now}
    assert gate.call("PATCH", f"/task-instances/{gate.ti_id}/state", done).status_code == 409
    assert gate.call("PATCH", f"/task-instances/{gate.ti_id}/run", runs).status_code == 409
    assert_still_shut(parked)
    for call in ("state", "run"):
        assert parked.entries("foreign_answer_refused", task_id="gate", task="plain.gate", call=call)


@pytest.mark.scene("plain")
def test_ask_for_something_else_on_the_same_try(parked: Scene) -> None:
    """The gate's token asks again, and names an answer for the case that nobody gives one."""
    gate = parked.insider("gate")
    body = {
        "ti_id": gate.ti_id,
        "options": ["Approve", "Reject"],
        "subject": "nothing to see",
        "defaults": ["Approve"],
        "params": {"approvals": {}},
    }
    gate.call("POST", f"/hitlDetails/{gate.ti_id}", body)
    assert parked.finish() == "failed"
    assert parked.request()["state"] == "conflict"
    assert parked.calls() == []
    assert parked.entries("intake_conflict", task_id="gate")
    assert parked.world.vote(parked.request()["id"], "bob").status_code == 409


@pytest.mark.scene("plain")
def test_forge_the_gates_result(parked: Scene, attacker: str) -> None:
    """Another task writes what an open gate would return, and the gate is marked successful."""
    grant = {"request": parked.request()["id"], "grant": "f" * 32, "sink": "sink-a", "jws": "e30.e30.e30"}
    path = f"/xcoms/{parked.dag_id}/{parked.run_id}/gate/return_value"
    answer = elsewhere(parked).call("POST", path, grant)
    assert answer.status_code == 201, answer.text
    assert parked.call("PATCH", "/taskInstances/gate", json={"new_state": "success"}).status_code == 200
    assert parked.finish() == "failed"
    assert parked.calls() == []
    assert parked.until_entry("run_overridden", task_id="gate", act="mark")["actor"] == parked.attacker
    assert parked.entries("start_refused", task_id="use")


@pytest.mark.scene("plain")
def test_clear_another_run(parked: Scene) -> None:
    """Any task may clear any run; the people of that task's run have then shaped it."""
    first = parked.request()["id"]
    answer = elsewhere(parked, "carol").call("POST", f"/dag-runs/{parked.dag_id}/{parked.run_id}/clear")
    assert answer.status_code == 204, answer.text
    parked.world.until(lambda: parked.request()["id"] != first, "the gate asks again")
    refused = parked.world.vote(parked.request()["id"], "carol")
    assert (refused.status_code, refused.json()["code"]) == (403, "self_approval")
    assert_still_shut(parked)
    assert parked.entries("run_overridden", actor="carol", act="clear")
    assert parked.entries("vote_refused", actor="carol", code="self_approval")


@pytest.mark.scene("plain")
def test_have_a_task_trigger_the_run(parked: Scene) -> None:
    """Rita started the run that triggers, and carol has cleared in it: neither approves the new one."""
    assert parked.clear("gate", user="carol").status_code == 200
    body = {"logical_date": None, "conf": {}}
    answer = parked.insider("gate").call("POST", f"/dag-runs/plain/by-{parked.run_id[-8:]}", body)
    assert answer.status_code == 204, answer.text
    child = Scene(parked.world, "plain", f"by-{parked.run_id[-8:]}", "rita")
    child.until_state("gate", "awaiting_input")
    for requester in ("rita", "carol"):
        refused = child.world.vote(child.request()["id"], requester)
        assert (refused.status_code, refused.json()["code"]) == (403, "self_approval")
        assert child.entries("vote_refused", actor=requester, code="self_approval")
    assert_still_shut(child)


@pytest.mark.core
@pytest.mark.scene("insider", shared="inside")
def test_open_the_connection_behind_no_gate(scene: Scene) -> None:
    """However its id is spelled, by every version of the API."""
    scene.until_state("hold", "running")
    task = scene.insider()
    tries = [(spelling, version) for spelling in SPELLINGS for version in VERSIONS]
    for spelling, version in tries:
        answer = task.call("GET", f"/connections/{spelling}", version=version)
        assert answer.status_code == 403, (spelling, version, answer.text)
        assert PASSWORD not in answer.text
    assert scene.calls() == []
    assert len(scene.entries("credential_refused", task_id="hold")) >= len(tries)


@pytest.mark.scene("insider", shared="inside")
def test_fetch_the_servers_own_secrets(scene: Scene) -> None:
    """They lie in files, so no name gets at them; what is guessed is not there."""
    scene.until_state("hold", "running")
    task, signing = scene.insider(), (scene.world.home / "signing.pem").read_text()
    names = ("slack_default", "approvals", "approvals_slack", "approvals_signing_key", "slack_signing_secret")
    for path in (*(f"/connections/{name}" for name in names), *(f"/variables/{name}" for name in names)):
        answer = task.call("GET", path)
        assert answer.status_code == 404, (path, answer.text)
        for secret in (SLACK_SECRET, scene.world.secret, signing.splitlines()[1]):
            assert secret not in answer.text
    assert scene.calls() == []


@pytest.mark.scene("plain")
def test_token_of_a_finished_task(parked: Scene) -> None:
    """A token outlives its task, and the grant does not outlive its use."""
    parked.world.meant.add(parked.run_id)
    parked.approve()
    assert parked.finish() == "success"
    release = parked.insider("use")
    for version in VERSIONS:
        answer = release.call("GET", "/connections/sink_a", version=version)
        assert answer.status_code == 403, answer.text
        assert PASSWORD not in answer.text
    assert parked.calls() == ["use"]
    assert len(parked.entries("credential_refused", task_id="use")) == 3
    assert len(parked.entries("credential_handed_out", task_id="use")) == 1
