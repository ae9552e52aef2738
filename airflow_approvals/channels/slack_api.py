"""Calls of Slack's Web API, and what its answers mean.

No call retries by itself: the outbox decides when to try again, and a blind retry of a post
could leave two live messages. Errors never carry the token.

Source: https://docs.slack.dev/reference/methods/chat.postMessage (error codes);
https://docs.slack.dev/apis/web-api/rate-limits (429 and ``Retry-After``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from airflow_approvals.channels.failures import DeliveryRefusedError, RetryLaterError
from airflow_approvals.errors import ChannelError, ConfigurationError

TIMEOUT_SECONDS = 10
#: How long to wait when Slack says "too many" without saying for how long.
DEFAULT_RETRY_AFTER_SECONDS = 30.0
MAX_RETRY_AFTER_SECONDS = 3600.0

_CODE = re.compile(r"[a-z_]{1,60}")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
#: What no later attempt changes, because it is about this message or this person.
_FOR_GOOD = frozenset(
    {
        "message_not_found",
        "thread_not_found",
        "cant_update_message",
        "edit_window_closed",
        "user_not_in_channel",
        "user_not_found",
        "cannot_dm_bot",
        "messages_tab_disabled",
        "invalid_blocks",
        "msg_blocks_too_long",
        "msg_too_long",
    }
)


def client(token: str, api_url: str) -> WebClient:
    """Return a client that tries each call once.

    :raises ConfigurationError: when the URL has no valid form.
    """
    return WebClient(token=token, base_url=checked_url(api_url), timeout=TIMEOUT_SECONDS, retry_handlers=[])


def call(method: Callable[..., Any], **arguments: Any) -> Mapping[str, Any]:
    """Call Slack once; return its JSON object.

    Every failure becomes one of ours, without what was sent (it holds the token).

    :raises RetryLaterError: when Slack asks to wait; nothing was done then.
    :raises DeliveryRefusedError: when it was refused and will be refused again.
    :raises ChannelError: in every other case; it may or may not have been done.
    """
    return answered(method, **arguments)[0]


def answered(method: Callable[..., Any], **arguments: Any) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """Call Slack as :func:`call` does; return the JSON object and the headers, names in lower case."""
    try:
        answer = method(**arguments)
    except SlackApiError as error:
        raise _failure_of(error) from None
    except (SlackClientError, OSError, HTTPException, ValueError) as error:
        raise ChannelError(f"Slack could not be reached ({type(error).__name__}).") from None
    headers = {str(name).lower(): str(value) for name, value in answer.headers.items()}
    return answer.data, headers


def text_of(answer: Mapping[str, Any], name: str) -> str:
    """Return a text of an answer; :raises ChannelError: when there is none of that name."""
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


def checked_url(api_url: str) -> str:
    """Return the base URL with a slash at its end.

    :raises ConfigurationError: for ``http`` towards another machine, and for anything that is no URL.
    """
    parts = urlsplit(api_url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return api_url if api_url.endswith("/") else f"{api_url}/"
    raise ConfigurationError(
        "[approvals] slack_api_url must start with https://, since the bot token is sent there.",
        "http:// is accepted for this machine only (localhost, 127.0.0.1).",
    )
