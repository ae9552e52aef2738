"""Webhooks: events as CloudEvents in JSON, signed so that the receiver can tell whose they are.

Delivered at least once: the event's ``id`` is the same at every attempt, and ``sequence`` tells the
order in which things happened. The signature is that of Standard Webhooks, over
``<webhook-id>.<webhook-timestamp>.<body>``.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md (context attributes),
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions/sequence.md,
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from airflow_approvals.channels.failures import DeliveryRefusedError, RetryLaterError
from airflow_approvals.channels.secret_addresses import unlogged
from airflow_approvals.errors import ChannelError, ConfigurationError

MEDIUM = "webhook"
SPEC_VERSION = "1.0"
TYPE_PREFIX = "airflow_approvals.request."
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
TIMEOUT_SECONDS = 10.0
DEFAULT_RETRY_AFTER_SECONDS = 30.0
MAX_RETRY_AFTER_SECONDS = 3600.0
#: Two, so that the receiver can be given a new secret before the old one goes.
MAX_SECRETS = 2
MIN_SECRET_BYTES = 24

_PREFIX = "whsec_"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class WebhookEvent:
    """One thing that happened to a request.

    ``number`` counts all events of this deployment and never changes between attempts; ``kind`` is
    ``requested``, ``decided`` and so on; ``data`` holds facts, never a value of the data.
    """

    number: int
    kind: str
    source: str
    subject: str
    at: datetime
    data: dict[str, Any]

    @property
    def id(self) -> str:
        """The same for every attempt to deliver it, and for nothing else."""
        return f"{self.subject}.{self.number}"

    def to_bytes(self) -> bytes:
        """Return the CloudEvent in structured mode."""
        document = {
            "specversion": SPEC_VERSION,
            "id": self.id,
            "source": self.source,
            "type": f"{TYPE_PREFIX}{self.kind}",
            "subject": self.subject,
            "time": self.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "sequence": f"{self.number:020d}",
            "datacontenttype": "application/json",
            "data": self.data,
        }
        return json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


class WebhookChannel:
    """One receiver.

    :param url: its address; ``http`` only towards this machine.
    :param secrets: one or two secrets; every event is signed with each of them.
    :param now: the clock, in seconds since 1970.
    :raises ConfigurationError: when the address has another form.
    """

    medium = MEDIUM

    def __init__(self, url: str, secrets: Sequence[bytes], now: Callable[[], float]) -> None:
        self._url = _checked_url(url)
        self._secrets = tuple(secrets)
        self._now = now

    def send(self, event: WebhookEvent) -> None:
        """Deliver an event.

        :raises RetryLaterError: when the receiver asks to wait (429, 503).
        :raises DeliveryRefusedError: when the receiver is gone for good (410).
        :raises ChannelError: when it refused or could not be reached; it may have arrived.
        """
        body = event.to_bytes()
        try:
            with unlogged():
                answer = httpx.post(
                    self._url, content=body, headers=self._headers(event, body), timeout=TIMEOUT_SECONDS
                )
        except httpx.HTTPError as error:
            raise ChannelError(f"The webhook could not be reached ({type(error).__name__}).") from None
        _raise_for(answer)

    def _headers(self, event: WebhookEvent, body: bytes) -> dict[str, str]:
        timestamp = int(self._now())
        return {
            "Content-Type": CONTENT_TYPE,
            "webhook-id": event.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(
                sign(secret, event.id, timestamp, body) for secret in self._secrets
            ),
        }


def sign(secret: bytes, event_id: str, timestamp: int, body: bytes) -> str:
    """Return a signature as Standard Webhooks writes it: ``v1,`` and base64 of an HMAC-SHA256.

    :param timestamp: when it is sent, in whole seconds since 1970.
    """
    signed = b".".join((event_id.encode(), str(timestamp).encode(), body))
    return f"v1,{base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()}"


def parse_secrets(text: str) -> tuple[bytes, ...]:
    """Return the secrets in the text of a secret file, one ``whsec_…`` per line.

    :raises ConfigurationError: when there are none, more than two, or one of another form.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not 1 <= len(lines) <= MAX_SECRETS:
        raise ConfigurationError(
            f"The webhook secret file holds {len(lines)} secrets.",
            "Write the secret on one line; during a rotation, the new and the old one on two.",
        )
    return tuple(map(_secret, lines))


def _secret(line: str) -> bytes:
    try:
        secret = base64.b64decode(line.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        secret = b""
    if not line.startswith(_PREFIX) or len(secret) < MIN_SECRET_BYTES:
        raise ConfigurationError(
            f"A webhook secret must be {_PREFIX} and base64 of at least {MIN_SECRET_BYTES} bytes.",
            f'Make one: echo "{_PREFIX}$(openssl rand -base64 32)"',
        )
    return secret


def _raise_for(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    if answer.status_code in (429, 503):
        raise RetryLaterError("The webhook asks to wait.", _retry_after(answer))
    if answer.status_code == 410:
        raise DeliveryRefusedError("The webhook is gone (HTTP 410).")
    raise ChannelError(f"The webhook refused the event (HTTP {answer.status_code}).")


def _retry_after(answer: httpx.Response) -> float:
    text = answer.headers.get("retry-after", "")
    seconds = float(text) if re.fullmatch(r"[0-9]{1,9}", text) else DEFAULT_RETRY_AFTER_SECONDS
    return min(max(seconds, 1.0), MAX_RETRY_AFTER_SECONDS)


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ConfigurationError(
            "[approvals] webhook_url must hold no credentials.", "Receivers check the signature."
        )
    if parts.hostname and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    ):
        return url
    raise ConfigurationError(
        "[approvals] webhook_url must start with https://.",
        "http:// is accepted for this machine only (localhost, 127.0.0.1).",
    )
