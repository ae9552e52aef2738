"""Asking and deciding in Slack, through a real Airflow and a real Web API."""

from __future__ import annotations

import pytest

from tests.flows.conftest import SLACK_SECRET
from tests.flows.gated import Gated
from tests.live.slack_clicks import Answer, click
from tests.live.slack_emulator import SlackEmulator

pytestmark = pytest.mark.live


def press(gated: Gated, slack: SlackEmulator, request_id: str, user: str, action: str) -> Answer:
    message = gated.until(lambda: _message(slack, request_id), "the message stands in the channel")
    return click(
        f"{gated.airflow.url()}/approvals/slack/interactions",
        SLACK_SECRET,
        message=message,
        channel=slack.channel,
        action_id=action,
        user=slack.users[user],
        team=slack.team,
    )


def _message(slack: SlackEmulator, request_id: str) -> dict | None:
    try:
        return slack.message_of(request_id)
    except AssertionError:
        return None


def test_the_requester_is_refused_in_private_and_another_person_opens_the_gate(
    gated: Gated, slack: SlackEmulator
) -> None:
    run_id = gated.ask("plain")
    request = gated.request(run_id)
    refused = press(gated, slack, request["id"], "alice", "approvals_approve")
    assert refused.status == 200
    gated.until(
        lambda: any(user == "alice" and "somebody else" in text for user, text in slack.whispers()),
        "alice is told in private",
    )
    assert gated.state("plain", run_id, "gate") == "awaiting_input"
    assert press(gated, slack, request["id"], "bob", "approvals_approve").status == 200
    assert gated.finish("plain", run_id) == "success"
    gated.until(lambda: "approvals_approve" not in str(_message(slack, request["id"])), "the buttons go")
    assert "Approved by bob" in str(_message(slack, request["id"]))
    votes = gated.request(run_id)["votes"]
    assert [(vote["person"], vote["channel"]) for vote in votes] == [("bob", "slack")]


def test_somebody_without_a_link_is_refused(gated: Gated, slack: SlackEmulator) -> None:
    run_id = gated.ask("plain")
    request = gated.request(run_id)
    assert press(gated, slack, request["id"], "viewer", "approvals_approve").status == 200
    gated.until(lambda: gated.entries(kind="vote_refused", request=request["id"]), "the refusal is recorded")
    assert gated.request(run_id)["state"] == "pending"
    assert press(gated, slack, request["id"], "bob", "approvals_reject").status == 200
    assert gated.finish("plain", run_id) == "failed"
