"""A conversation of Teams that our bot is in: post, update, reply, speak to one person.

Every post has a nonce of its own, which its buttons carry. Nobody can look for a post that may
have arrived unrecorded; it is posted again, and the buttons of the lost one are dead, because
its nonce was never recorded.

Source: https://learn.microsoft.com/en-us/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference
(conversations, activities, paged members; ``PUT`` replaces an activity);
https://learn.microsoft.com/en-us/microsoftteams/platform/bots/how-to/conversations/send-proactive-messages
(service URLs, new posts in a channel); token:
https://learn.microsoft.com/en-us/azure/bot-service/rest-api/bot-framework-rest-connector-authentication
(client credentials, scope ``https://api.botframework.com/.default``).
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from airflow_approvals.channels import teams_cards as cards
from airflow_approvals.channels.facts import RequestFacts
from airflow_approvals.channels.failures import DeliveryRefusedError, RetryLaterError
from airflow_approvals.channels.teams_http import call, checked_url
from airflow_approvals.core.entra import is_entra_id
from airflow_approvals.core.models import Channel
from airflow_approvals.errors import ChannelError, ConfigurationError

SCOPE = "https://api.botframework.com/.default"
GLOBAL_SERVICE_URL = "https://smba.trafficmanager.net/teams/"
MEMBERS_SECONDS = 600.0
#: How long a failure to list them is an answer as well.
MEMBERS_FAILED_SECONDS = 30.0
#: A card is posted without views rather than after its sender's claim on it has run out.
MEMBERS_ASKED_SECONDS = 20.0
MAX_MEMBER_PAGES = 10
MEMBERS_PER_PAGE = 500
#: Column width of where a delivery is recorded.
_MAX_REF = 250
_CONVERSATION = re.compile(r"19:[A-Za-z0-9_.-]{1,100}@(thread\.tacv2|thread\.skype|thread\.v2)")
_UNAUTHORIZED = "http_401"
_GONE = frozenset({403, 404, 413})
_HINTS = {
    401: "Check [approvals] teams_app_id and the file of teams_app_password_file.",
    403: "Add the app to the team or chat of [approvals] teams_conversation.",
    404: "Check [approvals] teams_conversation, and add the app to that team or chat.",
}


@dataclass(frozen=True)
class BotIdentity:
    """Who the bot is, and where it signs in: ``token_url`` is the endpoint of its own tenant."""

    app_id: str
    password: str = field(repr=False)
    tenant: str
    token_url: str


@dataclass(frozen=True)
class Posted:
    """A posted card: the conversation it is addressed in, its activity, and the nonce of its buttons."""

    conversation: str
    activity: str
    nonce: str

    @property
    def ref(self) -> str:
        """The text by which it is recorded."""
        return f"{self.conversation}|{self.activity}|{self.nonce}"

    @classmethod
    def from_ref(cls, ref: str) -> Posted:
        """Read what :attr:`ref` wrote."""
        conversation, activity, nonce = ref.split("|")
        return cls(conversation, activity, nonce)


class TeamsBot:
    """One conversation, as a :class:`~airflow_approvals.channels.courier.Courier`.

    Keep it: it holds its access token and who is in the conversation for a while.

    :param conversation: id of a channel (``19:…@thread.tacv2``) or group chat (``19:…@thread.v2``).
    :param service_url: base URL of the connector; ``http`` only towards this machine.
    :raises ConfigurationError: when an id or an address has another form.
    """

    medium = Channel.TEAMS.value

    def __init__(
        self, identity: BotIdentity, conversation: str, service_url: str = GLOBAL_SERVICE_URL
    ) -> None:
        if not _CONVERSATION.fullmatch(conversation):
            raise ConfigurationError(
                "[approvals] teams_conversation must be the id of a channel or group chat, 19:…@thread.…",
                "It stands in the link to the channel, percent-encoded.",
            )
        if not (is_entra_id(identity.app_id) and is_entra_id(identity.tenant)):
            raise ConfigurationError(
                "[approvals] teams_app_id and teams_tenant must be ids of Entra, in lower case."
            )
        checked_url(identity.token_url, "teams_token_url")
        self.recipient = conversation
        self._identity = identity
        self._base = f"{checked_url(service_url, 'teams_service_url').rstrip('/')}/v3/conversations"
        self._lock = threading.Lock()
        self._token: tuple[str, float] | None = None
        self._members: tuple[Mapping[str, str], float] | None = None
        self._members_failed: tuple[ChannelError, float] | None = None
        self._asking = threading.Lock()

    def post(self, facts: RequestFacts) -> str:
        """Post the card about a request; return its reference."""
        nonce = secrets.token_urlsafe(16)
        card = cards.for_everybody(facts, cards.Delivered(nonce, self.viewers(facts)))
        posted = Posted(*self._start(_activity(card, cards.headline(facts))), nonce)
        if len(posted.ref) > _MAX_REF or posted.ref.count("|") != 2:
            raise ChannelError("Teams answered with an id that cannot be recorded.")
        return posted.ref

    def update(self, ref: str, facts: RequestFacts) -> None:
        """Replace a posted card by how things stand."""
        posted = Posted.from_ref(ref)
        card = cards.for_everybody(facts, cards.Delivered(posted.nonce, self.viewers(facts)))
        sent = _activity(card, cards.headline(facts)) | {"id": posted.activity}
        self._call("PUT", _path(posted.conversation, posted.activity), sent, for_good=_GONE)

    def find(self, request_id: str, *, since: datetime, place: str) -> str | None:
        """Return ``None``: a bot cannot read what was posted. The buttons of a lost post are dead."""
        return None

    def reply(self, ref: str, text: str, mentions: Sequence[str] = (), *, key: str) -> None:
        """Say something below a posted card; ``mentions`` are Entra object ids."""
        posted = Posted.from_ref(ref)
        named = [(oid, f"approver {n}") for n, oid in enumerate(filter(is_entra_id, mentions), start=1)]
        sent = _activity(cards.word(text, named[:50])) | {"replyToId": posted.activity}
        self._call("POST", _path(posted.conversation, posted.activity), sent, for_good=_GONE)

    def has_reply(self, ref: str, key: str) -> bool:
        """Return ``False``: a bot cannot read what was posted, so a lost reply may stand there twice."""
        return False

    def tell(self, account: str, text: str, facts: RequestFacts) -> None:
        """Say something about a request to one account, in its chat with the bot."""
        self.whisper(account, text)

    def whisper(self, user: str, text: str, *, ref: str | None = None) -> None:
        """Say something to one account in a chat of its own with the bot.

        :param user: Entra object id of somebody in the conversation.
        """
        account = self.members().get(user)
        if account is None:
            raise DeliveryRefusedError("The account is not in the Teams conversation.")
        start = {"bot": self._bot, "members": [{"id": account}], "tenantId": self._identity.tenant}
        more = {"isGroup": False, "channelData": {"tenant": {"id": self._identity.tenant}}}
        chat = _text(self._call("POST", "", start | more, for_good=_GONE), "id")
        self._call("POST", _path(chat), _activity(cards.word(text)), for_good=_GONE)

    def viewers(self, facts: RequestFacts) -> tuple[str, ...]:
        """Return the Teams accounts of those who get a view of their own; none when it cannot be known.

        Without it everybody sees the buttons, and whoever may not decide is told so when they press one.
        """
        if not facts.teams_accounts or facts.state.is_terminal:
            return ()
        try:
            known = self.members()
        except ChannelError:
            return ()
        return tuple(known[oid] for oid in facts.teams_accounts if oid in known)

    def members(self) -> Mapping[str, str]:
        """Return who is in the conversation: Entra object id to Teams account (``29:…``).

        One call at a time asks, and nobody waits for another's: they get what was known before.

        :raises ChannelError: when nobody knows, or it just failed.
        """
        known = self._members
        if known is not None and time.monotonic() < known[1]:
            return known[0]
        if not self._asking.acquire(blocking=False):
            if known is not None:
                return known[0]
            raise ChannelError("The members of the Teams conversation are still being asked for.")
        try:
            return self._members_asked()
        finally:
            self._asking.release()

    def _members_asked(self) -> Mapping[str, str]:
        self._raise_if_just_failed()
        try:
            found = self._ask_members()
        except ChannelError as error:
            self._members_failed = error, time.monotonic()
            raise
        self._members = found, time.monotonic() + MEMBERS_SECONDS
        return found

    def _raise_if_just_failed(self) -> None:
        if self._members_failed is None:
            return
        error, at = self._members_failed
        passed = time.monotonic() - at
        if isinstance(error, RetryLaterError) and passed < error.seconds:
            raise RetryLaterError(error.message, error.seconds - passed)
        if not isinstance(error, RetryLaterError) and passed < MEMBERS_FAILED_SECONDS:
            raise ChannelError(error.message)

    def _ask_members(self) -> dict[str, str]:
        found: dict[str, str] = {}
        cursor = ""
        deadline = time.monotonic() + MEMBERS_ASKED_SECONDS
        for _ in range(MAX_MEMBER_PAGES):
            if time.monotonic() > deadline:
                raise ChannelError("Teams takes too long to list the members of the conversation.")
            more = f"&continuationToken={quote(cursor, safe='')}" if cursor else ""
            path = f"/{quote(self.recipient, safe='')}/pagedmembers?pageSize={MEMBERS_PER_PAGE}{more}"
            page = self._call("GET", path)
            page = page if isinstance(page, Mapping) else {}
            for member in page.get("members") or ():
                oid = member.get("aadObjectId") or member.get("objectId")
                found[str(oid).lower()] = str(member.get("id"))
            cursor = str(page.get("continuationToken") or "")
            if not cursor:
                break
        return found

    @property
    def _bot(self) -> dict[str, str]:
        return {"id": f"28:{self._identity.app_id}"}

    def _start(self, activity: Mapping[str, Any]) -> tuple[str, str]:
        """Post as a new message; return the conversation to address it in, and its id."""
        if self.recipient.endswith("@thread.v2"):
            answer = self._call("POST", _path(self.recipient), activity, for_good=frozenset({413}))
            return self.recipient, _text(answer, "id")
        channel = {"channel": {"id": self.recipient}, "tenant": {"id": self._identity.tenant}}
        start = {"isGroup": True, "bot": self._bot, "channelData": channel, "activity": activity}
        answer = self._call("POST", "", start, for_good=frozenset({413}))
        return _text(answer, "id"), _text(answer, "activityId")

    def _call(
        self,
        method: str,
        path: str,
        document: Mapping[str, Any] | None = None,
        *,
        for_good: frozenset[int] = frozenset(),
    ) -> Any:
        is_kept = self._token is not None
        try:
            return self._call_once(method, path, document, for_good)
        except ChannelError as error:
            if not (is_kept and _UNAUTHORIZED in error.message):
                raise
        # The token was good once, so it has been revoked since; what was refused has had no effect.
        return self._call_once(method, path, document, for_good)

    def _call_once(
        self, method: str, path: str, document: Mapping[str, Any] | None, for_good: frozenset[int]
    ) -> Any:
        headers = {"Authorization": f"Bearer {self._access_token()}"}
        try:
            return call(
                method,
                f"{self._base}{path}",
                to="Teams",
                document=document,
                headers=headers,
                hints=_HINTS,
                for_good=for_good,
            )
        except ChannelError as error:
            if _UNAUTHORIZED in error.message:
                self._token = None
            raise

    def _access_token(self) -> str:
        with self._lock:
            if self._token is None or time.monotonic() >= self._token[1]:
                self._token = _sign_in(self._identity)
            return self._token[0]


def _sign_in(identity: BotIdentity) -> tuple[str, float]:
    """Return an access token, and until when (monotonic) to use it."""
    form = {
        "grant_type": "client_credentials",
        "client_id": identity.app_id,
        "client_secret": identity.password,
        "scope": SCOPE,
    }
    answer = call(
        "POST",
        identity.token_url,
        to="Entra's token endpoint",
        form=form,
        hints={400: _HINTS[401], 401: _HINTS[401]},
    )
    lives = answer.get("expires_in") if isinstance(answer, Mapping) else None
    seconds = float(lives) if isinstance(lives, int | float) else 0.0
    return _text(answer, "access_token"), time.monotonic() + max(seconds - 300.0, 0.0)


def _activity(card: cards.Card, summary: str = "") -> dict[str, Any]:
    attachment = {"contentType": cards.CONTENT_TYPE, "content": card}
    made = {"type": "message", "attachments": [attachment]}
    return made | ({"summary": summary} if summary else {})


def _path(conversation: str, activity: str = "") -> str:
    below = f"/{quote(activity, safe='')}" if activity else ""
    return f"/{quote(conversation, safe='')}/activities{below}"


def _text(answer: Any, name: str) -> str:
    value = answer.get(name) if isinstance(answer, Mapping) else None
    if not isinstance(value, str) or not value:
        raise ChannelError(f"The answer from Microsoft holds no {name}.")
    return value
