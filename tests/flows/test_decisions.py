"""Asking and deciding on a real Airflow."""

from __future__ import annotations

import pytest

from tests.channels.teams_service import PEOPLE
from tests.flows.gated import Gated
from tests.live.slack_emulator import SlackEmulator

pytestmark = pytest.mark.live


def test_another_persons_approval_opens_the_gate(gated: Gated, slack: SlackEmulator) -> None:
    run_id = gated.ask("plain")
    request = gated.request(run_id)
    assert request["state"] == "pending"
    assert {r["name"] for r in request["requesters"]} == {"alice", slack.users["alice"], PEOPLE["alice"]}
    assert request["consumers"] == ["between", "follow", "use"]
    answer = gated.vote(request["id"], "bob", reason="looked at the counts")
    assert (answer.status_code, answer.json()["state"]) == (200, "approved")
    assert gated.finish("plain", run_id) == "success"
    assert len(gated.uses(run_id)) == 1
    gated.until(lambda: gated.request(run_id)["grant"]["state"] == "spent", "the grant is spent")
    kinds = [e["kind"] for e in gated.entries(request=request["id"])]
    assert kinds == [
        "request_registered", "vote_cast", "grant_issued", "request_approved",
        "grant_bound", "credential_handed_out", "grant_spent",
    ]  # fmt: skip


def test_the_requester_is_refused_on_every_channel(gated: Gated) -> None:
    run_id = gated.ask("plain", user="bob")
    request = gated.request(run_id)
    refused = gated.vote(request["id"], "bob")
    assert (refused.status_code, refused.json()["code"]) == (403, "self_approval")
    native = gated.answer("plain", run_id, "bob")
    assert native.status_code == 409
    assert native.json()["detail"] == refused.json()["detail"]
    noted = gated.airflow.task("plain", run_id, "gate")
    assert noted is not None
    assert noted["note"] == f"Answer refused, bob: {refused.json()['detail']}"
    assert gated.state("plain", run_id, "gate") == "awaiting_input"
    assert len(gated.entries(kind="vote_refused", request=request["id"], code="self_approval")) == 2
    assert gated.vote(request["id"], "carol").status_code == 200
    assert gated.finish("plain", run_id) == "success"


def test_an_administrator_without_a_seat_is_refused(gated: Gated) -> None:
    run_id = gated.ask("plain", user="bob")
    refused = gated.vote(gated.request(run_id)["id"], "alice")
    assert (refused.status_code, refused.json()["code"]) == (403, "not_eligible")


def test_airflows_own_route_is_the_same_decision(gated: Gated) -> None:
    run_id = gated.ask("plain")
    detail = gated.as_user("bob").get(
        f"/api/v2/dags/plain/dagRuns/{run_id}/taskInstances/gate/-1/hitlDetails"
    )
    gated.request(run_id)
    detail = gated.as_user("bob").get(
        f"/api/v2/dags/plain/dagRuns/{run_id}/taskInstances/gate/-1/hitlDetails"
    )
    assert "sink-a" in detail.json()["subject"]
    assert detail.json()["params"] == {}
    answer = gated.answer("plain", run_id, "bob")
    assert answer.status_code == 200, answer.text
    assert answer.json()["chosen_options"] == ["Approve"]
    assert gated.answer("plain", run_id, "carol").status_code == 409
    assert gated.finish("plain", run_id) == "success"


def test_a_rejection_fails_the_gate_without_a_retry(gated: Gated) -> None:
    run_id = gated.ask("plain")
    answer = gated.vote(gated.request(run_id)["id"], "bob", "reject", "too many names left")
    assert answer.json()["state"] == "rejected"
    assert gated.finish("plain", run_id) == "failed"
    assert gated.state("plain", run_id, "gate") == "failed"
    assert gated.state("plain", run_id, "use") == "upstream_failed"
    assert gated.state("plain", run_id, "clean_up") == "success"
    assert gated.uses(run_id) == []


def test_soft_fail_skips_and_still_releases_nothing(gated: Gated) -> None:
    run_id = gated.ask("soft")
    gated.vote(gated.request(run_id)["id"], "bob", "reject")
    gated.finish("soft", run_id)
    assert gated.state("soft", run_id, "gate") == "skipped"
    assert gated.state("soft", run_id, "use") == "failed"
    assert gated.uses(run_id) == []


def test_silence_expires_and_never_approves(gated: Gated) -> None:
    run_id = gated.start("plain", action="quick")
    assert gated.finish("plain", run_id) == "failed"
    assert gated.request(run_id)["state"] == "expired"
    assert gated.uses(run_id) == []


def test_two_seats_need_two_people(gated: Gated) -> None:
    run_id = gated.ask("plain", action="publish")
    request = gated.request(run_id)
    first = gated.vote(request["id"], "carol")
    assert (first.status_code, first.json()["state"]) == (200, "pending")
    assert gated.vote(request["id"], "carol").json()["state"] == "pending"
    assert gated.state("plain", run_id, "gate") == "awaiting_input"
    assert gated.vote(request["id"], "dave").json()["state"] == "approved"
    assert gated.finish("plain", run_id) == "success"


def test_a_forbidden_ask_fails_at_once(gated: Gated) -> None:
    run_id = gated.start("plain", action="leak")
    assert gated.finish("plain", run_id) == "failed"
    assert gated.request(run_id)["state"] == "forbidden"


def test_a_permitted_ask_needs_nobody(gated: Gated) -> None:
    run_id = gated.start("plain", action="rehearse")
    assert gated.finish("plain", run_id) == "success"
    assert gated.request(run_id)["decided_because"].startswith("Permitted without a vote by rule free")


def test_a_channel_that_only_views_cannot_decide(gated: Gated) -> None:
    run_id = gated.ask("plain", action="page")
    request = gated.request(run_id)
    assert gated.vote(request["id"], "bob").json()["code"] == "channel_views_only"
    withdrawn = gated.as_user("bob").post(f"/approvals/api/v1/requests/{request['id']}/withdraw", json={})
    assert withdrawn.json()["state"] == "withdrawn"
    assert gated.finish("plain", run_id) == "failed"


def test_a_second_different_ask_on_the_same_try_can_never_be_approved(gated: Gated) -> None:
    run_id = gated.start("two_asks")
    assert gated.finish("two_asks", run_id) == "failed"
    assert gated.request(run_id)["state"] == "conflict"
    assert gated.uses(run_id) == []
    assert gated.entries(kind="intake_conflict", run_id=run_id)


def test_mapped_gates_are_asked_and_opened_one_by_one(gated: Gated) -> None:
    run_id = gated.start("mapped_gate")
    north, south = (gated.request(run_id, index) for index in (0, 1))
    assert north["manifest_digest"] != south["manifest_digest"]
    gated.vote(north["id"], "bob")
    gated.until(lambda: gated.state("mapped_gate", run_id, "gate", 0) == "success", "the first opens")
    assert gated.state("mapped_gate", run_id, "gate", 1) == "awaiting_input"
    gated.vote(south["id"], "bob")
    assert gated.finish("mapped_gate", run_id) == "success"


def test_gates_in_a_row_are_each_decided_and_the_first_stays_open(gated: Gated) -> None:
    run_id = gated.ask("two_gates")
    gated.vote(gated.request(run_id)["id"], "bob")
    gated.until(lambda: gated.state("two_gates", run_id, "second") == "awaiting_input", "the second asks")
    gated.vote(gated.request(run_id, task_id="second")["id"], "carol")
    assert gated.finish("two_gates", run_id) == "success"
    assert len(gated.uses(run_id)) == 1
