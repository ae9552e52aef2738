"""Slack's own framework as an oracle: it accepts what our signer signs, and we what it signs."""

from __future__ import annotations

import time

import pytest
from slack_bolt import App, BoltRequest
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.signature import SignatureVerifier

from airflow_approvals.channels import slack_forms
from airflow_approvals.channels.demands import Demands
from airflow_approvals.channels.slack_interaction import FORM, parse_form, parse_interaction
from airflow_approvals.channels.slack_messages import render
from airflow_approvals.channels.slack_signature import verify
from airflow_approvals.core.models import Verdict
from airflow_approvals.errors import SignatureError
from tests.channels.facts_for_tests import some_facts
from tests.live import slack_clicks

SECRET = "the-oracles-secret"
MESSAGE = {"ts": "1700000000.000100", "blocks": render(some_facts()).blocks}
VIEW = slack_forms.render(some_facts(), Verdict.APPROVE, Demands(), "req-1:" + "n" * 32)
CLICK = slack_clicks.encode(
    slack_clicks.payload(
        message=MESSAGE, channel="C0123", action_id=slack_clicks.APPROVE, user="U0BOB", team="T0TEAM"
    )
)
SENT = slack_clicks.encode(
    slack_clicks.submission(view=VIEW, user="U0BOB", team="T0TEAM", answers={"reason": "looked"})
)


class Oracle:
    """A Bolt app with listeners for what ours are; ``seen`` is what reached them."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        known = AuthorizeResult(enterprise_id=None, team_id="T0TEAM", bot_token="xoxb-none", bot_id="B1")
        self.app = App(signing_secret=SECRET, authorize=lambda: known, request_verification_enabled=True)

        @self.app.action(slack_clicks.APPROVE)
        def clicked(ack, body):  # type: ignore[no-untyped-def]
            ack()
            self.seen.append(body["actions"][0]["value"])

        @self.app.view(FORM)
        def sent(ack, body):  # type: ignore[no-untyped-def]
            ack(response_action="clear")
            self.seen.append(body["view"]["state"]["values"]["approvals.reason"]["reason"]["value"])

    def status(self, body: bytes, headers: dict[str, str]) -> int:
        lists = {name: [value] for name, value in headers.items()}
        return int(self.app.dispatch(BoltRequest(body=body.decode(), headers=lists)).status)


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle()


@pytest.mark.parametrize(("body", "reaches"), [(CLICK, "req-1"), (SENT, "looked")])
def test_it_accepts_what_our_signer_signs_and_hands_it_to_its_listeners(
    oracle: Oracle, body: bytes, reaches: str
) -> None:
    assert oracle.status(body, slack_clicks.sign(SECRET, body)) == 200
    deadline = time.monotonic() + 60
    while oracle.seen[-1:] != [reaches] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert oracle.seen[-1] == reaches


@pytest.mark.parametrize("body", [CLICK, SENT])
def test_we_accept_what_it_signs_and_read_the_same(body: bytes) -> None:
    now = str(int(time.time()))
    signature = SignatureVerifier(SECRET).generate_signature(timestamp=now, body=body)
    assert signature is not None
    headers = [(b"X-Slack-Request-Timestamp", now.encode()), (b"X-Slack-Signature", signature.encode())]
    callback = verify(headers, body, secrets=(SECRET,), now=time.time)
    assert parse_interaction(parse_form(callback.body)).actor == "slack:T0TEAM:U0BOB"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body, headers: (body.replace(b"U0BOB", b"U0EVE"), headers),
        lambda body, headers: (body, headers | {"X-Slack-Signature": "v0=" + "0" * 64}),
        lambda body, headers: (body, slack_clicks.sign("another", body)),
        lambda body, headers: (body, slack_clicks.sign(SECRET, body, at=time.time() - 301)),
        lambda body, headers: (body, slack_clicks.sign(SECRET, body, at=time.time() + 360)),
    ],
)
def test_both_refuse_what_is_spoilt(oracle: Oracle, spoil) -> None:  # type: ignore[no-untyped-def]
    body, headers = spoil(CLICK, slack_clicks.sign(SECRET, CLICK))
    assert oracle.status(body, headers) == 401
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    with pytest.raises(SignatureError):
        verify(raw, body, secrets=(SECRET,), now=time.time)
