"""Proof that a callback comes from Slack.

Strict in front of the SDK's own verifier, which raises on hostile input (a timestamp that is
no number, a signature or body that is not UTF-8): here everything but a proven callback is one
:class:`~airflow_approvals.errors.SignatureError`. Neither body nor signature is ever logged.

Source: https://docs.slack.dev/authentication/verifying-requests-from-slack/ (``v0=`` +
HMAC-SHA256 over ``v0:<timestamp>:<raw body>``, at most five minutes old).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from slack_sdk.signature import Clock, SignatureVerifier

from airflow_approvals.core.digest import sha256_digest
from airflow_approvals.errors import ConfigurationError, SignatureError

#: Two, so that a new secret can be put in place before Slack starts to use it.
MAX_SECRETS = 2
WINDOW_SECONDS = 300

_TIMESTAMP_HEADER = b"x-slack-request-timestamp"
_SIGNATURE_HEADER = b"x-slack-signature"
_TIMESTAMP = re.compile(rb"[0-9]{1,11}")
_SIGNATURE = re.compile(rb"v0=[0-9a-f]{64}")


@dataclass(frozen=True)
class ProvenCallback:
    """A callback that Slack signed.

    ``id`` is the same for every replay of it and for nothing else.
    """

    id: str
    body: bytes


def parse_secrets(text: str) -> tuple[str, ...]:
    """Return the signing secrets in the text of a secret file, one per line.

    :raises ConfigurationError: when there are none or more than two.
    """
    secrets = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not 1 <= len(secrets) <= MAX_SECRETS:
        raise ConfigurationError(
            f"The Slack signing secret file holds {len(secrets)} secrets.",
            "Write the secret on one line; during a rotation, the old and the new one on two.",
        )
    return secrets


def verify(
    headers: Iterable[tuple[bytes, bytes]],
    body: bytes,
    *,
    secrets: Sequence[str],
    now: Callable[[], float],
) -> ProvenCallback:
    """Return the callback when Slack signed it within the last (or next) 300 seconds.

    :param headers: raw header pairs as they came in, names in any case, repeats included.
    :param secrets: the signing secrets in force; none means nothing can be proven.
    :param now: the clock, in seconds since 1970.
    :raises SignatureError: in every other case.
    """
    pairs = [(name.lower(), value) for name, value in headers]
    timestamp = _only(pairs, _TIMESTAMP_HEADER, _TIMESTAMP)
    signature = _only(pairs, _SIGNATURE_HEADER, _SIGNATURE)
    if not any(_signed_with(secret, timestamp, signature, body, now) for secret in secrets):
        raise SignatureError("The callback is not signed by Slack, or too old.")
    return ProvenCallback(sha256_digest(f"slack:{timestamp}:{signature}".encode()), body)


def _only(pairs: Sequence[tuple[bytes, bytes]], name: bytes, form: re.Pattern[bytes]) -> str:
    values = [value for header, value in pairs if header == name]
    if len(values) != 1 or not form.fullmatch(values[0]):
        raise SignatureError(f"The callback needs exactly one well-formed {name.decode()} header.")
    return values[0].decode("ascii")


def _signed_with(secret: str, timestamp: str, signature: str, body: bytes, now: Callable[[], float]) -> bool:
    try:
        verifier = SignatureVerifier(secret, clock=_ClockOf(now))
        return verifier.is_valid(body=body, timestamp=timestamp, signature=signature)
    except (ValueError, TypeError):
        return False


class _ClockOf(Clock):
    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now  # type: ignore[method-assign]
