"""Clicks and forms as Slack sends them: faithful payloads, signed, form-encoded.

Source: https://docs.slack.dev/reference/interaction-payloads/block_actions-payload/,
https://docs.slack.dev/reference/interaction-payloads/view-interactions-payload/ and
https://docs.slack.dev/authentication/verifying-requests-from-slack/.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote_plus
from urllib.request import ProxyHandler, Request, build_opener

APPROVE = "approvals_approve"
REJECT = "approvals_reject"
#: From what the server says when a form is not settled within two seconds.
AT_WORK = "is being worked on"

_direct = build_opener(ProxyHandler({}))


@dataclass(frozen=True)
class Answer:
    """What the server answered, and how long that took."""

    status: int
    body: str
    seconds: float


def payload(
    *,
    message: Mapping[str, Any],
    channel: str,
    action_id: str,
    user: str,
    team: str,
    user_team: str | None = None,
    user_name: str = "somebody",
    app: str = "A0APPROVALS",
    trigger_id: str | None = None,
) -> dict[str, Any]:
    """Return the payload of a click on a button of the message, as Slack makes it.

    :param message: the message as ``conversations.history`` returns it.
    :param trigger_id: one that the emulator knows; any other is taken by nobody.
    :raises AssertionError: when the message has no such button: then nobody can click it.
    """
    button, block_id = _button(message, action_id)
    clicked_at = f"{time.time():.6f}"
    return {
        "type": "block_actions",
        "user": {"id": user, "username": user_name, "name": user_name, "team_id": user_team or team},
        "api_app_id": app,
        "token": "verification-tokens-are-deprecated",
        "container": {
            "type": "message",
            "message_ts": message["ts"],
            "channel_id": channel,
            "is_ephemeral": False,
        },
        "trigger_id": trigger_id
        or f"{secrets.randbelow(10**12)}.{secrets.randbelow(10**10)}.{secrets.token_hex(16)}",
        "team": {"id": team, "domain": "approvals"},
        "enterprise": None,
        "is_enterprise_install": False,
        "channel": {"id": channel, "name": "approvals"},
        "message": dict(message),
        "state": {"values": {}},
        "response_url": f"https://hooks.slack.com/actions/{team}/1/{secrets.token_hex(12)}",
        "actions": [
            {
                "action_id": action_id,
                "block_id": block_id,
                "text": button["text"],
                "value": button["value"],
                "style": button.get("style", "primary"),
                "type": "button",
                "action_ts": clicked_at,
            }
        ],
    }


def submission(
    *,
    view: Mapping[str, Any],
    user: str,
    team: str,
    answers: Mapping[str, str],
    user_team: str | None = None,
    kind: str = "view_submission",
) -> dict[str, Any]:
    """Return the payload of a form that was sent (or closed), as Slack makes it.

    :param view: the form as it was given to ``views.open``.
    :param answers: what was typed, by the action id of the input; the rest is left as it was.
    :raises AssertionError: when the form has no such input, or a required one is left empty.
    """
    values: dict[str, Any] = {}
    left = dict(answers)
    for block in view["blocks"]:
        if block["type"] != "input":
            continue
        element = block["element"]
        typed = left.pop(element["action_id"], element.get("initial_value"))
        assert typed or block.get("optional") or kind == "view_closed", f"{block['block_id']} is required"
        values[block["block_id"]] = {element["action_id"]: {"type": element["type"], "value": typed or None}}
    assert not left, f"The form has no {sorted(left)}."
    shown = {name: part for name, part in view.items() if name not in ("state", "id")}
    return {
        "type": kind,
        "team": {"id": team, "domain": "approvals"},
        "user": {"id": user, "username": "somebody", "name": "somebody", "team_id": user_team or team},
        "api_app_id": "A0APPROVALS",
        "token": "verification-tokens-are-deprecated",
        "trigger_id": f"{secrets.randbelow(10**12)}.{secrets.randbelow(10**10)}.{secrets.token_hex(16)}",
        "view": {
            **shown,
            "id": f"V{secrets.token_hex(5).upper()}",
            "team_id": team,
            "state": {"values": values},
            "hash": f"{time.time():.6f}",
            "clear_on_close": False,
            "notify_on_close": False,
            "previous_view_id": None,
            "app_id": "A0APPROVALS",
            "bot_id": "B0APPROVALS",
        },
        "response_urls": [],
        "is_enterprise_install": False,
        "enterprise": None,
        **({"is_cleared": False} if kind == "view_closed" else {}),
    }


def encode(interaction: Mapping[str, Any]) -> bytes:
    """Return the form body that carries a payload."""
    return f"payload={quote_plus(json.dumps(interaction))}".encode()


def sign(secret: str, body: bytes, *, at: float | None = None) -> dict[str, str]:
    """Return the headers with which Slack sends a body.

    :param at: when it is sent, in seconds since 1970; now when left out.
    """
    timestamp = str(int(time.time() if at is None else at))
    mac = hmac.new(secret.encode(), b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256)
    return {
        "Content-Type": "application/x-www-form-urlencoded",
        "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": f"v0={mac.hexdigest()}",
    }


def click(
    url: str,
    secret: str,
    *,
    message: Mapping[str, Any],
    channel: str,
    action_id: str,
    user: str,
    team: str,
    user_team: str | None = None,
    user_name: str = "somebody",
    trigger_id: str | None = None,
) -> Answer:
    """Click a button of a message; post it to the interactivity URL and return the answer.

    :param url: the whole URL, ``…/approvals/slack/interactions``.
    :param user: the Slack user id.
    """
    interaction = payload(
        message=message,
        channel=channel,
        action_id=action_id,
        user=user,
        team=team,
        user_team=user_team,
        user_name=user_name,
        trigger_id=trigger_id,
    )
    body = encode(interaction)
    return post(url, body, sign(secret, body))


def post(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Post a body as it is; an HTTP error is an answer too."""
    request = Request(url, data=body, headers=dict(headers), method="POST")
    started = time.monotonic()
    try:
        with _direct.open(request, timeout=120) as answer:
            status, text = answer.status, answer.read().decode()
    except HTTPError as error:
        status, text = error.code, error.read().decode()
    return Answer(status, text, time.monotonic() - started)


def request_of(message: Mapping[str, Any], action_id: str) -> str:
    """Return the id that a button of the message carries."""
    return str(_button(message, action_id)[0]["value"])


def _button(message: Mapping[str, Any], action_id: str) -> tuple[Mapping[str, Any], str]:
    for block in message.get("blocks") or ():
        for element in block.get("elements") or ():
            if element.get("action_id") == action_id:
                return element, block.get("block_id", "")
    raise AssertionError(f"The message has no button {action_id}.")


def is_taken(answer: Answer) -> bool:
    """Whether a form was taken: closed at once or, by a busy server, with word that it is at work on it."""
    said = json.loads(answer.body or "{}") if answer.status == 200 else {}
    action = said.get("response_action")
    return action == "clear" or (action == "update" and AT_WORK in json.dumps(said))
