"""Slack's Web API, as far as approvals need it: post, update, whisper, find again.

No call retries by itself: the outbox decides when to try again, and a blind retry of a post
could leave two live messages. Errors never carry the token.

Source: https://docs.slack.dev/reference/methods/ (chat.postMessage, chat.update,
chat.postEphemeral, conversations.history, auth.test); https://docs.slack.dev/apis/web-api/rate-limits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from airflow_approvals.channels import slack_text
from airflow_approvals.channels.facts import RequestFacts
from airflow_approvals.channels.failures import DeliveryRefusedError, RetryLaterError
from airflow_approvals.channels.slack_messages import block_id_of, render
from airflow_approvals.errors import ChannelError, ConfigurationError

TIMEOUT_SECONDS = 10
#: How long to wait when Slack says "too many" without saying for how long.
DEFAULT_RETRY_AFTER_SECONDS = 30.0
MAX_RETRY_AFTER_SECONDS = 3600.0
HISTORY_PAGE = 200
MAX_HISTORY_PAGES = 5

_CHANNEL = re.compile(r"[CG][A-Z0-9]{2,30}")
_CODE = re.compile(r"[a-z_]{1,60}")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_EVENT_TYPE = "approvals_request"
#: What no later attempt changes, because it is about this message or this person.
_FOR_GOOD = frozenset(
    {
        "message_not_found",
        "cant_update_message",
        "edit_window_closed",
        "user_not_in_channel",
        "user_not_found",
    }
)


class SlackChannel:
    """One conversation in one Slack workspace.

    :param token: the bot token.
    :param channel: id of the conversation (``C…``); names are not accepted, they can be re-used.
    :param api_url: base URL of the Web API; ``http`` only towards this machine.
    :raises ConfigurationError: when the channel or the URL has another form.
    """

    def __init__(self, token: str, channel: str, api_url: str = "https://slack.com/api/") -> None:
        if not _CHANNEL.fullmatch(channel):
            raise ConfigurationError(
                "[approvals] slack_channel must be the id of a conversation, such as C0123456789.",
                "Slack shows it at the end of the channel's details.",
            )
        self.channel = channel
        self._client = WebClient(
            token=token, base_url=_checked_url(api_url), timeout=TIMEOUT_SECONDS, retry_handlers=[]
        )

    def post(self, facts: RequestFacts) -> str:
        """Post the message about a request; return its reference, ``channel:ts``.

        :raises RetryLaterError: when Slack asks to wait.
        :raises ChannelError: when it was refused, or nobody knows whether it arrived.
        """
        message = render(facts)
        answer = _call(
            self._client.chat_postMessage,
            channel=self.channel,
            text=message.text,
            blocks=message.blocks,
            metadata={"event_type": _EVENT_TYPE, "event_payload": {"request_id": facts.request_id}},
            unfurl_links=False,
            unfurl_media=False,
        )
        return f"{_text(answer, 'channel')}:{_text(answer, 'ts')}"

    def update(self, ref: str, facts: RequestFacts) -> None:
        """Bring a posted message up to date.

        :param ref: what :meth:`post` returned.
        :raises RetryLaterError: when Slack asks to wait.
        :raises ChannelError: when it was refused or could not be sent.
        """
        channel, ts = ref.split(":")
        message = render(facts)
        _call(self._client.chat_update, channel=channel, ts=ts, text=message.text, blocks=message.blocks)

    def whisper(self, user: str, text: str, *, channel: str | None = None) -> None:
        """Say something to one user in a channel, seen by nobody else.

        :param user: Slack user id.
        :param text: one or two sentences; shown as they are, without markup or mentions.
        :param channel: id of the conversation; this channel's own when left out.
        :raises RetryLaterError: when Slack asks to wait.
        :raises ChannelError: when it was refused or could not be sent.
        """
        shown = slack_text.fit(text, slack_text.MAX_SECTION)
        block = {"type": "section", "text": slack_text.plain(text, slack_text.MAX_SECTION)}
        where = channel or self.channel
        _call(self._client.chat_postEphemeral, channel=where, user=user, text=shown, blocks=[block])

    def find(self, request_id: str, *, since: datetime) -> str | None:
        """Return the reference of our message about a request, when there is one in the channel.

        Asked after a crash, when it is not known whether a post arrived. A message of another
        account with the same block id is not ours.

        :param since: how far to look back.
        :raises RetryLaterError: when Slack asks to wait.
        :raises ChannelError: when the history cannot be read to its end; then nothing is known.
        """
        own_user = self._own_user
        for message in self._messages(since):
            blocks = message.get("blocks") or [{}]
            if message.get("user") == own_user and blocks[0].get("block_id") == block_id_of(request_id):
                return f"{self.channel}:{_text(message, 'ts')}"
        return None

    @cached_property
    def _own_user(self) -> str:
        return _text(_call(self._client.auth_test), "user_id")

    def _messages(self, since: datetime) -> Iterator[Mapping[str, Any]]:
        cursor: str | None = None
        for _ in range(MAX_HISTORY_PAGES):
            page = _call(
                self._client.conversations_history,
                channel=self.channel,
                oldest=f"{since.timestamp():.6f}",
                limit=HISTORY_PAGE,
                cursor=cursor,
            )
            yield from page.get("messages") or ()
            cursor = (page.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return
        raise ChannelError("The channel's history is too long to look through for a lost message.")


def _call(method: Callable[..., Any], **arguments: Any) -> Mapping[str, Any]:
    """Call Slack; every failure becomes one of ours, without what was sent (it holds the token)."""
    try:
        answer = method(**arguments)
    except SlackApiError as error:
        raise _failure_of(error) from None
    except (SlackClientError, OSError, HTTPException, ValueError) as error:
        raise ChannelError(f"Slack could not be reached ({type(error).__name__}).") from None
    data: Mapping[str, Any] = answer.data
    return data


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str) or not value:
        raise ChannelError(f"Slack's answer holds no {name}.")
    return value


def _failure_of(error: SlackApiError) -> ChannelError:
    response = error.response
    if response.status_code == 429:
        return RetryLaterError("Slack asks to wait.", _retry_after(response.headers))
    data = response.data if isinstance(response.data, Mapping) else {}
    named = str(data.get("error", ""))
    code = named if _CODE.fullmatch(named) else f"http_{response.status_code}"
    if code in {"ratelimited", "rate_limited"}:
        return RetryLaterError("Slack asks to wait.", _retry_after(response.headers))
    if code in _FOR_GOOD:
        return DeliveryRefusedError(f"Slack refused the message: {code}.")
    return ChannelError(f"Slack refused the call: {code}.", _HINTS.get(code, ""))


_HINTS = {
    "not_in_channel": "Invite the app to the channel.",
    "channel_not_found": "Check [approvals] slack_channel, and invite the app if it is private.",
    "missing_scope": "Give the app the scopes that the set-up page lists, and reinstall it.",
    "invalid_auth": "Check the bot token file.",
    "token_revoked": "Reinstall the app and replace the bot token file.",
    "account_inactive": "Reinstall the app and replace the bot token file.",
}


def _retry_after(headers: Mapping[str, Any]) -> float:
    named = {str(name).lower(): value for name, value in headers.items()}
    value = named.get("retry-after")
    text = str(value[0] if isinstance(value, list) and value else value)
    seconds = float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text) else DEFAULT_RETRY_AFTER_SECONDS
    return min(max(seconds, 1.0), MAX_RETRY_AFTER_SECONDS)


def _checked_url(api_url: str) -> str:
    parts = urlsplit(api_url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return api_url if api_url.endswith("/") else f"{api_url}/"
    raise ConfigurationError(
        "[approvals] slack_api_url must start with https://, since the bot token is sent there.",
        "http:// is accepted for this machine only (localhost, 127.0.0.1).",
    )
