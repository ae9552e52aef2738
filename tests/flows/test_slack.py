"""Asking and deciding in Slack, through a real Airflow and a real Web API."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest

from tests.flows.conftest import SLACK_SECRET
from tests.flows.gated import Gated
from tests.live import slack_clicks
from tests.live.slack_clicks import Answer
from tests.live.slack_emulator import SlackEmulator
from tests.live.slack_people import SlackPerson
from tests.live.slack_proxy import SlackProxy

pytestmark = pytest.mark.live
PAGE = {"X-Approvals-Request": "test", "Sec-Fetch-Site": "same-origin"}


class Slack:
    """What people do in Slack, and what the server then says to them."""

    def __init__(self, gated: Gated, slack: SlackEmulator, proxy: SlackProxy) -> None:
        self.gated, self.slack, self.proxy = gated, slack, proxy

    def press(self, request_id: str, user: str, action: str = slack_clicks.APPROVE) -> Answer:
        return self._person(user).press(self._standing(request_id), action)

    def form(self, request_id: str, user: str, action: str = slack_clicks.APPROVE) -> dict[str, Any]:
        """Press a button and return the form that this opened."""
        return self._person(user).open_form(self._standing(request_id), action)

    def send(self, view: dict[str, Any], user: str, **answers: str) -> Answer:
        return self._person(user).send(view, **answers)

    def message(self, request_id: str) -> dict[str, Any] | None:
        try:
            return self.slack.message_of(request_id)
        except AssertionError:
            return None

    def thread(self, request_id: str) -> list[str]:
        """What is said below the message, oldest first."""
        return [reply["text"] for reply in self.slack.thread_of(request_id)]

    def told(self, user: str, run_id: str) -> list[str]:
        """What the bot told somebody in private about a run."""
        private = [(m["text"], unquote(json.dumps(m["blocks"]))) for m in self.slack.direct_messages(user)]
        return [text for text, blocks in private if run_id in blocks]

    def said_to(self, user: str, words: str) -> str:
        """Wait for a private word to a user that holds the words, and return it."""
        heard = lambda: [t for name, t in self.slack.whispers() if name == user and words in t]  # noqa: E731
        return self.gated.until(heard, f"{user} is told: {words}")[0]

    def _standing(self, request_id: str) -> dict[str, Any]:
        return self.gated.until(lambda: self.message(request_id), "the message stands in the channel")

    def _person(self, name: str) -> SlackPerson:
        url = f"{self.gated.airflow.url()}/approvals/slack/interactions"
        return SlackPerson(self.slack, url, SLACK_SECRET, name)


@pytest.fixture
def chat(gated: Gated, slack: SlackEmulator, proxy: SlackProxy) -> Slack:
    return Slack(gated, slack, proxy)


def test_the_whole_story_of_a_request(gated: Gated, chat: Slack) -> None:
    run_id = gated.ask("plain")
    request = gated.request(run_id)
    assert chat.press(request["id"], "alice").status == 200
    chat.said_to("alice", "somebody else")
    assert gated.state("plain", run_id, "gate") == "awaiting_input"

    view = chat.form(request["id"], "bob")
    assert request["manifest_digest"] in json.dumps(view)
    assert gated.state("plain", run_id, "gate") == "awaiting_input"
    answer = chat.send(view, "bob", reason="Looked at the counts.")
    assert slack_clicks.is_taken(answer), answer

    assert gated.finish("plain", run_id) == "success"
    assert len(gated.uses(run_id)) == 1
    gated.until(lambda: "approvals_approve" not in str(chat.message(request["id"])), "the buttons go")
    assert "Approved by bob" in str(chat.message(request["id"]))
    gated.until(lambda: len(chat.thread(request["id"])) == 2, "the thread tells how it ended")
    assert chat.thread(request["id"]) == ["Approved by bob.", "Released: the bound task was seen through."]
    gated.until(lambda: chat.told("alice", run_id), "who asked is told in private")
    votes = gated.request(run_id)["votes"]
    assert [(vote["person"], vote["channel"]) for vote in votes] == [("bob", "slack")]
    assert votes[0]["reason"] == "Looked at the counts."
    _ledger_tells_it(gated, request["id"])
    # The same form again decides nothing, and says why.
    again = chat.send(view, "bob")
    assert json.loads(again.body)["response_action"] == "update"
    if slack_clicks.AT_WORK in again.body:
        chat.said_to("bob", "already approved")
    else:
        assert "already approved" in again.body


def _ledger_tells_it(gated: Gated, request_id: str) -> None:
    gated.until(lambda: gated.entries(kind="grant_spent", request=request_id), "the grant is spent")
    kinds = [entry["kind"] for entry in gated.entries(request=request_id)]
    told = ["request_registered", "vote_refused", "vote_cast", "grant_issued", "request_approved"]
    assert kinds[: len(told)] == told
    assert {"grant_bound", "credential_handed_out", "grant_spent"} <= set(kinds)
    (refused,) = gated.entries(kind="vote_refused", request=request_id)
    assert (refused["details"]["code"], refused["channel"]) == ("self_approval", "slack")


def test_a_rejection_says_why(gated: Gated, chat: Slack) -> None:
    run_id = gated.ask("plain")
    request = gated.request(run_id)
    view = chat.form(request["id"], "bob", slack_clicks.REJECT)
    assert slack_clicks.is_taken(chat.send(view, "bob", reason="Not this partner."))
    assert gated.finish("plain", run_id) == "failed"
    assert gated.request(run_id)["votes"][0]["reason"] == "Not this partner."


def test_an_account_links_itself_and_decides(gated: Gated, chat: Slack, slack: SlackEmulator) -> None:
    run_id = gated.ask("plain")
    request = gated.request(run_id)
    assert chat.press(request["id"], "carol").status == 200
    chat.said_to("carol", "not linked")
    page = _page_in(chat.proxy.asked("chat.postEphemeral"), "attempt")
    browser = gated.airflow.browser_session("carol")
    shown = browser.get(f"/approvals/links?attempt={page}")
    assert slack.users["carol"] in shown.text
    asked = browser.post(f"/approvals/api/v1/links/attempts/{page}", json={}, headers=PAGE)
    assert asked.status_code == 200, asked.text
    proof = _page_in(chat.proxy.asked("chat.postMessage"), "proof")
    stolen = _confirm(gated.airflow.browser_session("dave"), proof)
    assert (stolen.status_code, stolen.json()["code"]) == (403, "not_your_attempt")
    confirmed = _confirm(browser, proof)
    assert confirmed.status_code == 200, confirmed.text
    assert _confirm(browser, proof).json()["code"] == "attempt_over"

    view = chat.form(request["id"], "carol")
    assert slack_clicks.is_taken(chat.send(view, "carol"))
    assert gated.finish("plain", run_id) == "success"
    assert [vote["person"] for vote in gated.request(run_id)["votes"]] == ["carol"]
    kinds = [e["kind"] for e in gated.entries(account=slack.users["carol"])]
    assert kinds == ["link_asked", "link_refused", "account_linked", "link_refused", "vote_cast"]


def _confirm(browser: httpx.Client, proof: str) -> httpx.Response:
    return browser.post("/approvals/api/v1/links/confirm", json={"proof": proof}, headers=PAGE)


def _page_in(calls: list[dict[str, Any]], name: str) -> str:
    """Return what the newest message with such an address carries in it."""
    for call in reversed(calls):
        if f"links?{name}=" in str(call.get("blocks", "")):
            address = str(call["blocks"]).split("<", 1)[1].split("|", 1)[0]
            return parse_qs(urlsplit(address).query)[name][0]
    raise AssertionError(f"nobody was sent an address with {name}")


def test_a_guest_is_refused_although_the_policy_maps_the_account(
    gated: Gated, chat: Slack, slack: SlackEmulator, proxy: SlackProxy
) -> None:
    proxy.people[slack.users["dave"]] = {"is_restricted": True}
    run_id = gated.ask("plain")
    request = gated.request(run_id)
    assert chat.press(request["id"], "dave").status == 200
    chat.said_to("dave", "Guests")
    assert gated.entries(kind="vote_refused", request=request["id"], code="slack_guest")
    assert gated.request(run_id)["state"] == "pending"
    assert gated.vote(request["id"], "bob", "reject").status_code == 200
