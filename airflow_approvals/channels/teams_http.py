"""HTTP towards Microsoft: no redirect is followed, every failure becomes one of ours.

No call retries by itself; the outbox decides when to try again. Errors and logs never carry an
address (a webhook's is a secret), a token or what was sent.

Source: https://learn.microsoft.com/en-us/microsoftteams/platform/bots/how-to/rate-limit (429, 412,
502, 504 are to be retried; ``Retry-After`` in seconds);
https://www.rfc-editor.org/rfc/rfc9110#field.retry-after.
"""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import httpx

from airflow_approvals.channels.failures import DeliveryRefusedError, RetryLaterError
from airflow_approvals.channels.secret_addresses import unlogged
from airflow_approvals.errors import ChannelError, ConfigurationError

TIMEOUT_SECONDS = 10.0
MAX_ANSWER_BYTES = 1024 * 1024
#: How long to wait when "too many" comes without saying for how long.
DEFAULT_RETRY_AFTER_SECONDS = 30.0
MAX_RETRY_AFTER_SECONDS = 3600.0
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(url: str) -> bool:
    """Whether an address is one of this machine."""
    return urlsplit(url).hostname in _LOOPBACK


def checked_url(url: str, option: str) -> str:
    """Return an address that secrets may be sent to.

    :param option: what names it, for the error.
    :raises ConfigurationError: when it is neither ``https`` nor ``http`` towards this machine.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if secure and parts.hostname and "@" not in parts.netloc and url.isascii() and url.isprintable():
        return url
    raise ConfigurationError(
        f"[approvals] {option} must be an https:// address, since secrets are sent there.",
        "http:// is accepted for this machine only (localhost, 127.0.0.1).",
    )


def call(
    method: str,
    url: str,
    *,
    to: str,
    document: object = None,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT_SECONDS,
    hints: Mapping[int, str] | None = None,
    for_good: frozenset[int] = frozenset({413}),
) -> Any:
    """Call, and return the JSON of a 2xx answer; ``None`` when there is none.

    :param to: who is called, in words.
    :param document: what to send as JSON.
    :param form: what to send as a form instead.
    :param hints: the way out, by status.
    :param for_good: statuses that sending the same again does not change.
    :raises RetryLaterError: for 429 and 503 with ``Retry-After``.
    :raises DeliveryRefusedError: for one of ``for_good``.
    :raises ChannelError: for every other failure.
    """
    body = None if document is None else json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    sent = {**(headers or {}), **({"Content-Type": "application/json; charset=utf-8"} if body else {})}
    content = body.encode() if body else None
    try:
        status, answered, text = _exchange(
            lambda client: client.stream(method, url, content=content, data=form, headers=sent), timeout
        )
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise ChannelError(f"{to} could not be reached ({type(error).__name__}).") from None
    if not 200 <= status < 300:
        raise _failure(to, status, answered, hints or {}, for_good)
    return _json(text)


def _exchange(request: Callable[[httpx.Client], Any], timeout: float) -> tuple[int, httpx.Headers, bytes]:
    ends = time.monotonic() + 2 * timeout
    with (
        unlogged(),
        httpx.Client(timeout=timeout, follow_redirects=False, verify=_trusted()) as client,
        request(client) as answer,
    ):
        text = b""
        for chunk in answer.iter_bytes():
            text += chunk
            if len(text) > MAX_ANSWER_BYTES:
                raise httpx.RequestError("too large")
            # The timeout is of each read: a server that sends a byte now and then never reaches it.
            if time.monotonic() > ends:
                raise httpx.ReadTimeout("too slow")
        return answer.status_code, answer.headers, text


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    """Reading the list of authorities takes longer than a call."""
    return httpx.create_ssl_context()


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _failure(
    to: str, status: int, headers: httpx.Headers, hints: Mapping[int, str], for_good: frozenset[int]
) -> ChannelError:
    if status == 429 or (status == 503 and "retry-after" in headers):
        return RetryLaterError(f"{to} asks to wait.", _retry_after(headers.get("retry-after", "")))
    if status in for_good:
        return DeliveryRefusedError(f"{to} refused the message: http_{status}.")
    return ChannelError(f"{to} refused the call: http_{status}.", hints.get(status, ""))


def _retry_after(text: str) -> float:
    seconds = float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text) else DEFAULT_RETRY_AFTER_SECONDS
    return min(max(seconds, 1.0), MAX_RETRY_AFTER_SECONDS)
