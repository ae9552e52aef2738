"""Reading what Slack sends back: a press of one of our buttons, and a form that was sent or closed.

Only what a decision needs is kept; the payload's ``response_url`` (which lets anybody write to
the channel) and its display names are dropped here.

Source: https://docs.slack.dev/reference/interaction-payloads/block_actions-payload/ and
https://docs.slack.dev/reference/interaction-payloads/view-interactions-payload/.
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
#: ``callback_id`` of our form, and where its answers stand: block id, then action id.
FORM = "approvals_form"
REASON_BLOCK, REASON_INPUT = "approvals.reason", "reason"
TICKET_BLOCK, TICKET_INPUT = "approvals.ticket", "ticket"
#: A form names its request and its own one-time number, ``request:nonce``, and nothing else.
FORM_REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,32}:[A-Za-z0-9_-]{20,64}")
#: Longer than what may be typed into the form; more never comes from it.
MAX_ANSWER = 4000

#: What JSON can spell and no database stores: NUL, and halves of characters.
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
_ID = re.compile(r"[A-Z][A-Z0-9]{1,30}")
_TS = re.compile(r"[0-9]{1,12}\.[0-9]{1,8}")
_TRIGGER = re.compile(r"[A-Za-z0-9._-]{1,200}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


@dataclass(frozen=True)
class Click:
    """One press of one of our buttons.

    ``team`` is the workspace it was made in, ``user_team`` the one the user belongs to;
    ``channel`` and ``message_ts`` say on which message. ``trigger`` opens one form, within three seconds.
    """

    request_id: str
    verdict: Verdict
    team: str
    user_team: str
    user: str
    app: str
    channel: str
    message_ts: str
    trigger: str

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


@dataclass(frozen=True)
class Submission:
    """A form of ours that somebody sent; ``nonce`` is the form's one-time number."""

    request_id: str
    nonce: str
    team: str
    user_team: str
    user: str
    app: str
    reason: str
    ticket: str

    @property
    def actor(self) -> str:
        """The Slack account, for the ledger."""
        return f"slack:{self.user_team}:{self.user}"

    def to_text(self) -> str:
        """Return the JSON text to keep."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class Closed:
    """A form of ours that was closed without being sent; nothing follows from it."""


def interaction_from_text(text: str) -> Click | Submission:
    """Read what ``to_text`` wrote; :raises ContractError: when it is something else."""
    document = _json(text)
    fields = Fields(document, "interaction")
    known = {name: fields.text(name) for name in ("request_id", "team", "user_team", "user", "app")}
    found: Click | Submission
    if isinstance(document, Mapping) and "nonce" in document:
        answers = {name: fields.text(name) for name in ("nonce", "reason", "ticket")}
        found = Submission(**known, **answers)
    else:
        verdict = _known_verdict(fields.text("verdict"))
        where = {name: fields.text(name) for name in ("channel", "message_ts", "trigger")}
        found = Click(verdict=verdict, **known, **where)
    fields.end()
    return found


def parse_form(body: bytes) -> Mapping[str, Any]:
    """Return the payload in the raw body of a proven HTTP callback.

    :raises ContractError: when it is anything but a form with one ``payload`` field that holds an object.
    """
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


def parse_interaction(payload: Mapping[str, Any]) -> Click | Submission | Closed:
    """Return what a payload says, however it came.

    :raises ContractError: when it is anything but one press of one of our buttons on a message of a
        channel, or a form of ours that was sent or closed.
    """
    kind = payload.get("type")
    if kind == "block_actions":
        return _click(payload)
    if kind == "view_submission":
        return _submission(payload)
    if kind == "view_closed":
        _form(payload)
        return Closed()
    raise ContractError("The interaction is neither a click on a button nor a form.")


def _click(payload: Mapping[str, Any]) -> Click:
    container = _object(payload, "container")
    if container.get("type") != "message" or container.get("is_ephemeral"):
        raise ContractError("The click is not on a message of a channel.")
    action = _action(payload)
    return Click(
        request_id=_matching(action, "value", _REQUEST_ID),
        verdict=_verdict(action),
        **_who(payload),
        channel=_matching(container, "channel_id", _ID),
        message_ts=_matching(container, "message_ts", _TS),
        trigger=_matching(payload, "trigger_id", _TRIGGER),
    )


def _submission(payload: Mapping[str, Any]) -> Submission:
    view = _form(payload)
    request_id, _, nonce = _matching(view, "private_metadata", FORM_REFERENCE).partition(":")
    values = _object(_object(view, "state"), "values")
    return Submission(
        request_id=request_id,
        nonce=nonce,
        **_who(payload),
        reason=_answer(values, REASON_BLOCK, REASON_INPUT),
        ticket=_answer(values, TICKET_BLOCK, TICKET_INPUT),
    )


def _form(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    view = _object(payload, "view")
    if view.get("type") != "modal" or view.get("callback_id") != FORM:
        raise ContractError("The form is none of ours.")
    return view


def _answer(values: Mapping[str, Any], block: str, action: str) -> str:
    """Return what was typed into an input; empty when the form has none or nothing was typed."""
    if block not in values:
        return ""
    answer = _object(_object(values, block), action).get("value")
    if answer is None:
        return ""
    if not isinstance(answer, str) or len(answer) > MAX_ANSWER or _NO_TEXT.search(answer):
        raise ContractError("An answer in the form is no text, or too long.")
    return answer


def _who(payload: Mapping[str, Any]) -> dict[str, str]:
    user = _object(payload, "user")
    team = _matching(_object(payload, "team"), "id", _ID)
    return {
        "team": team,
        "user_team": _matching(user, "team_id", _ID) if "team_id" in user else team,
        "user": _matching(user, "id", _ID),
        "app": _matching(payload, "api_app_id", _ID),
    }


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
