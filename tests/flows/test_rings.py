"""What people and code cannot do without a grant: the start ring and the credential ring."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.flows.gated import Gated

pytestmark = pytest.mark.live


def patch_task(gated: Gated, dag_id: str, run_id: str, body: dict, path: str = "/gate") -> httpx.Response:
    return gated.as_user("bob").patch(
        f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances{path}", json=body
    )


def clear(gated: Gated, dag_id: str, run_id: str, *task_ids: str, user: str = "bob") -> None:
    answer = gated.as_user(user).post(
        f"/api/v2/dags/{dag_id}/clearTaskInstances",
        json={
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            "only_failed": False,
            "reset_dag_runs": True,
        },
    )
    assert answer.status_code == 200, answer.text


SINGLE = {"new_state": "success"}
BULK = {
    "actions": [
        {
            "action": "update",
            "entities": [{"task_id": "gate", "map_index": -1, "new_state": "success"}],
        }
    ]
}


@pytest.mark.parametrize("how", ["single", "bulk"])
@pytest.mark.parametrize("dag_id", ["plain", "mapped_use"])
def test_marking_the_gate_successful_releases_nothing(gated: Gated, how: str, dag_id: str) -> None:
    run_id = gated.ask(dag_id)
    request = gated.request(run_id)
    body, path = (SINGLE, "/gate") if how == "single" else (BULK, "")
    answer = patch_task(gated, dag_id, run_id, body, path)
    assert answer.status_code == 200, answer.text
    assert gated.finish(dag_id, run_id) == "failed"
    assert gated.uses(run_id) == []
    override = gated.entries(kind="run_overridden", run_id=run_id, task_id="gate", act="mark")
    assert override[0]["actor"] == "bob"
    assert gated.entries(kind="start_refused", run_id=run_id, task_id="use")
    closed = gated.until(
        lambda: (r := gated.request(run_id))["state"] != "pending" and r, "the request is closed"
    )
    assert closed["state"] == "withdrawn"
    assert gated.vote(request["id"], "carol").status_code == 409


def test_marking_the_whole_run_and_clearing_the_release_releases_nothing(gated: Gated) -> None:
    run_id = gated.ask("plain")
    answer = gated.as_user("bob").patch(f"/api/v2/dags/plain/dagRuns/{run_id}", json={"state": "success"})
    assert answer.status_code == 200, answer.text
    clear(gated, "plain", run_id, "between", "use")
    gated.until(lambda: gated.state("plain", run_id, "use") == "failed", "the release is refused")
    assert gated.uses(run_id) == []
    assert {e["act"] for e in details(gated, run_id)} >= {"mark", "clear"}


def test_deleting_the_gate_releases_nothing(gated: Gated) -> None:
    run_id = gated.ask("plain")
    answer = gated.as_user("alice").delete(f"/api/v2/dags/plain/dagRuns/{run_id}/taskInstances/gate")
    assert answer.status_code == 200, answer.text
    time.sleep(3)
    assert gated.uses(run_id) == []
    deleted = gated.until(
        lambda: gated.entries(kind="run_overridden", run_id=run_id, act="delete"), "the deletion is entered"
    )
    assert deleted[0]["actor"] == "alice"


def test_clearing_the_release_after_success_releases_nothing_more(gated: Gated) -> None:
    run_id = gated.ask("plain")
    gated.vote(gated.request(run_id)["id"], "bob")
    assert gated.finish("plain", run_id) == "success"
    before = [mark.read_text() for mark in gated.uses(run_id)]
    clear(gated, "plain", run_id, "use", user="carol")
    gated.until(lambda: gated.state("plain", run_id, "use") == "failed", "the replay is refused")
    assert [mark.read_text() for mark in gated.uses(run_id)] == before
    assert gated.request(run_id)["grant"]["state"] == "killed"
    assert gated.entries(kind="run_overridden", run_id=run_id, act="clear")[0]["actor"] == "carol"


def test_clearing_what_follows_a_release_runs_it_again(gated: Gated) -> None:
    run_id = gated.ask("plain")
    gated.vote(gated.request(run_id)["id"], "bob")
    assert gated.finish("plain", run_id) == "success"
    clear(gated, "plain", run_id, "follow")
    assert gated.finish("plain", run_id) == "success"
    assert gated.state("plain", run_id, "follow") == "success"


def test_clearing_a_failed_release_tries_again_with_the_same_grant(gated: Gated) -> None:
    run_id = gated.ask("fails_once")
    gated.vote(gated.request(run_id)["id"], "bob")
    assert gated.finish("fails_once", run_id) == "failed"
    grant = gated.request(run_id)["grant"]
    assert grant["state"] == "bound"
    clear(gated, "fails_once", run_id, "use", "follow", user="carol")
    assert gated.finish("fails_once", run_id) == "success"
    gated.until(lambda: gated.request(run_id)["grant"]["state"] == "spent", "the grant is spent")
    assert gated.request(run_id)["grant"]["id"] == grant["id"]
    assert len(gated.entries(kind="credential_handed_out", run_id=run_id)) == 2


def test_clearing_the_gate_asks_again_and_bars_whoever_cleared(gated: Gated) -> None:
    run_id = gated.ask("plain")
    gated.vote(gated.request(run_id)["id"], "bob")
    assert gated.finish("plain", run_id) == "success"
    first = gated.request(run_id)
    clear(gated, "plain", run_id, "gate", user="carol")
    again = gated.until(
        lambda: (r := gated.request(run_id))["id"] != first["id"] and r, "the gate asks again"
    )
    assert gated.vote(again["id"], "carol").json()["code"] == "self_approval"
    assert gated.vote(again["id"], "bob").json()["state"] == "approved"
    old = gated.as_user("alice").get(f"/approvals/api/v1/requests/{first['id']}").json()
    assert old["grant"]["state"] == "killed"


def test_only_one_mapped_task_gets_the_credential(gated: Gated) -> None:
    run_id = gated.ask("mapped_use")
    gated.vote(gated.request(run_id)["id"], "bob")
    gated.finish("mapped_use", run_id)
    assert len(gated.uses(run_id)) == 1
    assert len(gated.entries(kind="credential_handed_out", run_id=run_id)) == 1
    assert gated.entries(kind="credential_refused", run_id=run_id)


def test_a_task_without_a_gate_never_gets_the_credential(gated: Gated) -> None:
    run_id = gated.start("no_gate")
    assert gated.finish("no_gate", run_id) == "failed"
    assert gated.uses(run_id) == []
    refused = gated.entries(kind="credential_refused", run_id=run_id)
    assert "stands behind no gate" in refused[0]["details"]["because"]
    instance = gated.as_user("alice").get(f"/api/v2/dags/no_gate/dagRuns/{run_id}/taskInstances/use").json()
    assert "stands behind no gate" in instance["note"]


def test_a_changed_connection_voids_the_approval(gated: Gated) -> None:
    run_id = gated.ask("plain")
    request_id = gated.request(run_id)["id"]
    admin = gated.as_user("alice")
    changed = admin.patch(
        "/api/v2/connections/sink_a",
        params={"update_mask": "host"},
        json={"connection_id": "sink_a", "conn_type": "generic", "host": "elsewhere.invalid"},
    )
    assert changed.status_code == 200, changed.text
    try:
        gated.vote(request_id, "bob")
        assert gated.finish("plain", run_id) == "failed"
        assert gated.uses(run_id) == []
        assert "fingerprint" in gated.request(run_id)["grant"]["ended_because"]
    finally:
        admin.patch(
            "/api/v2/connections/sink_a",
            params={"update_mask": "host"},
            json={"connection_id": "sink_a", "conn_type": "generic", "host": "sink.invalid"},
        )


def details(gated: Gated, run_id: str) -> list[dict]:
    return [e["details"] for e in gated.entries(kind="run_overridden", run_id=run_id)]


def test_no_triggerer_runs_and_the_gate_awaits_input(gated: Gated) -> None:
    run_id = gated.ask("plain")
    health = gated.as_user("alice").get("/api/v2/monitor/health").json()
    assert health["triggerer"]["status"] is None
    instance = gated.as_user("alice").get(f"/api/v2/dags/plain/dagRuns/{run_id}/taskInstances/gate").json()
    assert instance["state"] == "awaiting_input"
    assert instance["trigger"] is None
