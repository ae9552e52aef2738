"""Reading what Teams posts about our cards: a press of a button, or a refresh.

Only what a decision needs is kept; display names are dropped here. Nothing is read before the
call is proven, see :mod:`airflow_approvals.channels.teams_token`.

Source: https://learn.microsoft.com/en-us/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference
(activity object); https://learn.microsoft.com/en-us/adaptive-cards/authoring-cards/universal-action-model
(invoke ``adaptiveCard/action``, response).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from airflow_approvals.channels import teams_cards as cards
from airflow_approvals.core.digest import sha256_digest
from airflow_approvals.core.documents import Fields
from airflow_approvals.core.entra import is_entra_id
from airflow_approvals.errors import ContractError

INVOKE = "adaptiveCard/action"
MESSAGE_TYPE = "application/vnd.microsoft.activity.message"
ERROR_TYPE = "application/vnd.microsoft.error"
MAX_ID = 250

_VERBS = frozenset({cards.VIEW, *cards.ASKS, *cards.CONFIRMS})
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
#: What no database stores as text.
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")
_PRINTABLE = re.compile(r"[!-~]{1,250}")

Answer = dict[str, Any]


@dataclass(frozen=True)
class Activity:
    """What a proven call is about: its kind, and where it says it comes from.

    ``conversation`` is without the thread (``;messageid=``); ``tenant`` and ``account`` (of who
    acted; Entra object id) are in lower case, and empty when the activity names none.
    """

    id: str
    type: str
    name: str
    channel: str
    service_url: str
    tenant: str
    account: str
    conversation: str
    document: Mapping[str, Any]


@dataclass(frozen=True)
class Press:
    """One press of one of our buttons. ``verb`` says which; ``message`` is the activity it is on.

    A confirmation has the one-time number of its ``form`` and what was written in it.
    """

    id: str
    request_id: str
    verb: str
    nonce: str
    tenant: str
    account: str
    conversation: str
    message: str
    reason: str
    form: str = ""
    ticket: str = ""

    @property
    def inbox_id(self) -> str:
        """The id by which it is kept: the same for a repetition of it, and for nothing else."""
        return sha256_digest(json.dumps(["teams", self.conversation, self.id]).encode())

    @property
    def actor(self) -> str:
        """The account, for the ledger."""
        return f"teams:{self.tenant}:{self.account}"

    def to_text(self) -> str:
        """Return the JSON text to keep."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> Press:
        """Read what :meth:`to_text` wrote; :raises ContractError: when it is something else."""
        fields = Fields(_json(text), "press")
        names = ("id", "request_id", "verb", "nonce", "tenant", "account", "conversation", "message")
        values = {name: fields.text(name) for name in names}
        # One that an older version kept has no form and no ticket.
        written = {name: str(fields.raw(name) or "") for name in ("reason", "form", "ticket")}
        press = cls(**values, **written)
        fields.end()
        return press


def parse_activity(body: bytes) -> Activity:
    """Return the activity in the raw body of a proven call.

    :raises ContractError: when it is none.
    """
    document = _json(body)
    if not isinstance(document, Mapping):
        raise ContractError("The activity is not an object.")
    conversation = _object(document, "conversation")
    data = _object(document, "channelData")
    tenants = {_lower(_object(data, "tenant").get("id")), _lower(conversation.get("tenantId"))} - {""}
    return Activity(
        id=_text(document, "id"),
        type=_text(document, "type"),
        name=_text(document, "name"),
        channel=_text(document, "channelId"),
        service_url=_text(document, "serviceUrl"),
        # Two that differ are none.
        tenant=tenants.pop() if len(tenants) == 1 else "",
        account=_lower(_object(document, "from").get("aadObjectId")),
        conversation=_text(conversation, "id").partition(";messageid=")[0],
        document=document,
    )


def parse_press(activity: Activity) -> Press:
    """Return the press in an activity.

    :raises ContractError: when it is anything but one press of one of our buttons on a message.
    """
    if (activity.type, activity.name) != ("invoke", INVOKE):
        raise ContractError("The activity is not a press of a button.")
    action = _object(_object(activity.document, "value"), "action")
    data = _object(action, "data")
    verb = action.get("verb")
    if action.get("type") != "Action.Execute" or not isinstance(verb, str) or verb not in _VERBS:
        raise ContractError("The press is not on one of our buttons.")
    if not is_entra_id(activity.account):
        raise ContractError("The press does not say who pressed.")
    return Press(
        id=_matching(activity.document, "id", _PRINTABLE),
        request_id=_matching(data, "request", _REQUEST_ID),
        verb=verb,
        nonce=_matching(data, "nonce", _NONCE),
        tenant=activity.tenant,
        account=activity.account,
        conversation=_matching({"id": activity.conversation}, "id", _PRINTABLE),
        message=_matching(activity.document, "replyToId", _PRINTABLE),
        reason=_written(data, "reason"),
        form=_matching(data, "form", _NONCE) if data.get("form") is not None else "",
        ticket=_written(data, "ticket"),
    )


def card_answer(card: cards.Card) -> Answer:
    """Return the answer that replaces the card, for who pressed only."""
    return {"statusCode": 200, "type": cards.CONTENT_TYPE, "value": card}


def message_answer(sentence: str) -> Answer:
    """Return the answer that shows a sentence, to who pressed only."""
    return {"statusCode": 200, "type": MESSAGE_TYPE, "value": sentence}


def error_answer(status: int, code: str, sentence: str) -> Answer:
    """Return the answer to what is no press of ours."""
    return {"statusCode": status, "type": ERROR_TYPE, "value": {"code": code, "message": sentence}}


def _written(data: Mapping[str, Any], name: str) -> str:
    text = data.get(name, "")
    if not isinstance(text, str) or _NO_TEXT.search(text):
        raise ContractError(f"The press's {name} is malformed.")
    return text.strip()


def _json(text: bytes | str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ContractError("The activity is not JSON.") from None


def _object(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = parent.get(name)
    return value if isinstance(value, Mapping) else {}


def _text(parent: Mapping[str, Any], name: str) -> str:
    value = parent.get(name)
    return value if isinstance(value, str) and len(value) <= MAX_ID * 4 else ""


def _lower(value: object) -> str:
    return value.lower() if isinstance(value, str) and len(value) <= MAX_ID else ""


def _matching(parent: Mapping[str, Any], name: str, form: re.Pattern[str]) -> str:
    value = parent.get(name)
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ContractError(f"The press's {name} is missing or malformed.")
    return value
