"""Reading a click: what Slack posts when somebody presses one of our buttons.

Only what a decision needs is kept; the payload's ``response_url`` (which lets anybody write to
the channel) and its display names are dropped here.

Source: https://docs.slack.dev/reference/interaction-payloads/block_actions-payload/.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qsl

from airflow_approvals.core.documents import Fields
from airflow_approvals.core.models import Verdict
from airflow_approvals.errors import ContractError

APPROVE_ACTION = "approvals_approve"
REJECT_ACTION = "approvals_reject"
VERDICTS = {APPROVE_ACTION: Verdict.APPROVE, REJECT_ACTION: Verdict.REJECT}

_ID = re.compile(r"[A-Z][A-Z0-9]{1,30}")
_TS = re.compile(r"[0-9]{1,12}\.[0-9]{1,8}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


@dataclass(frozen=True)
class Click:
    """One press of one of our buttons.

    ``team`` is the workspace it was made in, ``user_team`` the one the user belongs to;
    ``channel`` and ``message_ts`` say on which message.
    """

    request_id: str
    verdict: Verdict
    team: str
    user_team: str
    user: str
    app: str
    channel: str
    message_ts: str

    @property
    def message(self) -> str:
        """The message clicked on, ``channel:ts``, as deliveries are recorded."""
        return f"{self.channel}:{self.message_ts}"

    @property
    def actor(self) -> str:
        """The Slack account, for the ledger."""
        return f"slack:{self.user_team}:{self.user}"

    def to_text(self) -> str:
        """Return the JSON text to keep."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> Click:
        """Read what :meth:`to_text` wrote; :raises ContractError: when it is something else."""
        fields = Fields(_json(text), "click")
        click = cls(
            request_id=fields.text("request_id"),
            verdict=_known_verdict(fields.text("verdict")),
            team=fields.text("team"),
            user_team=fields.text("user_team"),
            user=fields.text("user"),
            app=fields.text("app"),
            channel=fields.text("channel"),
            message_ts=fields.text("message_ts"),
        )
        fields.end()
        return click


def parse_interaction(body: bytes) -> Click:
    """Return the click in the raw body of a proven callback.

    :raises ContractError: when it is anything but one press of one of our buttons on a message.
    """
    payload = _payload(body)
    if payload.get("type") != "block_actions":
        raise ContractError("The interaction is not a click on a button.")
    container = _object(payload, "container")
    if container.get("type") != "message" or container.get("is_ephemeral"):
        raise ContractError("The click is not on a message of a channel.")
    user = _object(payload, "user")
    team = _matching(_object(payload, "team"), "id", _ID)
    action = _action(payload)
    return Click(
        request_id=_matching(action, "value", _REQUEST_ID),
        verdict=_verdict(action),
        team=team,
        user_team=_matching(user, "team_id", _ID) if "team_id" in user else team,
        user=_matching(user, "id", _ID),
        app=_matching(payload, "api_app_id", _ID),
        channel=_matching(container, "channel_id", _ID),
        message_ts=_matching(container, "message_ts", _TS),
    )


def _payload(body: bytes) -> Mapping[str, Any]:
    try:
        fields = parse_qsl(body.decode("utf-8"), strict_parsing=True, errors="strict", max_num_fields=10)
    except ValueError:
        raise ContractError("The interaction is not a form.") from None
    values = [value for name, value in fields if name == "payload"]
    if len(values) != 1:
        raise ContractError("The interaction needs exactly one payload field.")
    payload = _json(values[0])
    if not isinstance(payload, Mapping):
        raise ContractError("The interaction's payload is not an object.")
    return payload


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ContractError("The interaction's payload is not JSON.") from None


def _object(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = parent.get(name)
    if not isinstance(value, Mapping):
        raise ContractError(f"The interaction has no {name}.")
    return value


def _matching(parent: Mapping[str, Any], name: str, form: re.Pattern[str]) -> str:
    value = parent.get(name)
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ContractError(f"The interaction's {name} is missing or malformed.")
    return value


def _action(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    actions = payload.get("actions")
    if not isinstance(actions, list) or len(actions) != 1 or not isinstance(actions[0], Mapping):
        raise ContractError("The interaction does not hold exactly one action.")
    return actions[0]


def _known_verdict(word: str) -> Verdict:
    try:
        return Verdict(word)
    except ValueError:
        raise ContractError("The click holds no known verdict.") from None


def _verdict(action: Mapping[str, Any]) -> Verdict:
    name = action.get("action_id")
    if not isinstance(name, str) or name not in VERDICTS:
        raise ContractError("The click is not on one of our buttons.")
    return VERDICTS[name]
