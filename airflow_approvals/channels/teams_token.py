"""Proof that a call comes from the Bot Framework on behalf of Teams, and keys to check it by.

The token is checked before anything of the body is parsed; what it says about the service has to
be compared with the activity after that, see :meth:`Caller.speaks_for`.

Source: https://learn.microsoft.com/en-us/azure/bot-service/rest-api/bot-framework-rest-connector-authentication
("Authenticate requests from the Bot Connector service to your bot": bearer token, issuer, audience,
five minutes of clock skew, a signing key listed in the OpenID metadata and refreshed at least daily,
``serviceUrl`` claim, endorsements per channel).
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from joserfc.jws import extract_compact

from airflow_approvals.channels.teams_http import call, checked_url, is_loopback
from airflow_approvals.errors import ChannelError, ConfigurationError, SignatureError, UnavailableError

ISSUER = "https://api.botframework.com"
CHANNEL = "msteams"
SKEW_SECONDS = 300
MAX_TOKEN = 8192
#: Once a day at least, says the vendor; when a new key turns up, at most once a minute.
REFRESH_SECONDS = 24 * 3600.0
LEAST_REFRESH_SECONDS = 60.0
#: How long keys are trusted when they cannot be fetched again.
MAX_AGE_SECONDS = 48 * 3600.0
FETCH_SECONDS = 4.0
#: Calls that wait at once for a key that is not known, and for how long; any more are refused at once.
MOST_WAITING = 8
WAIT_SECONDS = 10.0
_LEAST_KEY_BITS = 2048

_BEARER = re.compile(r"[Bb]earer ([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)")


class ForeignCallerError(SignatureError):
    """The call is proven to come from the Bot Framework, but not from Teams or not for us."""

    code = "foreign_caller"


@dataclass(frozen=True)
class Caller:
    """A proven caller; ``service_url`` is the service it speaks for."""

    service_url: str

    def speaks_for(self, service_url: str, hosts: frozenset[str]) -> bool:
        """Whether an activity's service is the one the token was issued for, and a known one."""
        parts = urlsplit(service_url)
        secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(service_url))
        same = service_url.rstrip("/") == self.service_url.rstrip("/")
        return same and secure and "@" not in parts.netloc and parts.hostname in hosts


@dataclass(frozen=True)
class _Keys:
    by_id: Mapping[str, tuple[RSAKey, frozenset[str]]]
    fetched: float


class KeyRing:
    """The Bot Framework's signing keys, fetched when they are needed and kept.

    Whoever asks for a known key never waits for others, and of the rest only a few do: unknown keys
    are anybody's to name. Until there are keys at all, everybody waits for the first.

    :param metadata_url: the OpenID metadata; its ``jwks_uri`` has to be ``https`` as well.
    :param clock: seconds, monotonic.
    """

    def __init__(self, metadata_url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = checked_url(metadata_url, "teams_openid_url")
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting = threading.BoundedSemaphore(MOST_WAITING)
        self._keys: _Keys | None = None
        self._tried = float("-inf")

    def find(self, key_id: str) -> tuple[RSAKey, frozenset[str]] | None:
        """Return a key and the channels that it is endorsed for, or ``None`` when there is no such key.

        :raises UnavailableError: when no keys can be had.
        """
        keys = self._keys
        if keys is None or key_id not in keys.by_id or self._age(keys) >= MAX_AGE_SECONDS:
            keys = self._awaited(key_id)
        elif self._age(keys) >= REFRESH_SECONDS and self._lock.acquire(blocking=False):
            try:
                keys = self._refreshed(key_id)
            finally:
                self._lock.release()
        if keys is None or self._age(keys) >= MAX_AGE_SECONDS:
            raise UnavailableError("The Bot Framework's signing keys cannot be fetched.")
        return keys.by_id.get(key_id)

    def _age(self, keys: _Keys) -> float:
        return self._clock() - keys.fetched

    def _awaited(self, key_id: str) -> _Keys | None:
        """Return the keys once they were fetched, by this call or by another."""
        if self._just_tried() and not self._lock.locked():
            return self._keys
        if self._keys is None:
            return self._after_others(key_id)
        if not self._waiting.acquire(blocking=False):
            raise UnavailableError("Too many calls wait for the Bot Framework's signing keys.")
        try:
            return self._after_others(key_id)
        finally:
            self._waiting.release()

    def _after_others(self, key_id: str) -> _Keys | None:
        if not self._lock.acquire(timeout=WAIT_SECONDS):
            raise UnavailableError("The Bot Framework's signing keys do not come.")
        try:
            return self._refreshed(key_id)
        finally:
            self._lock.release()

    def _just_tried(self) -> bool:
        return self._clock() - self._tried < LEAST_REFRESH_SECONDS

    def _refreshed(self, key_id: str) -> _Keys | None:
        """Fetch the keys unless somebody else just did, or tried to; the lock is held."""
        keys = self._keys
        due = keys is None or key_id not in keys.by_id or self._age(keys) >= REFRESH_SECONDS
        if due and not self._just_tried():
            now = self._tried = self._clock()
            with suppress(ChannelError, ConfigurationError):
                self._keys = _Keys(_fetch(self._url), now)
        return self._keys


def _fetch(url: str) -> dict[str, tuple[RSAKey, frozenset[str]]]:
    metadata = _object(call("GET", url, to="The OpenID metadata", timeout=FETCH_SECONDS))
    if metadata.get("issuer") != ISSUER:
        raise ChannelError("The OpenID metadata is another issuer's.")
    keys_url = checked_url(str(metadata.get("jwks_uri", "")), "teams_openid_url")
    document = _object(call("GET", keys_url, to="The key set", timeout=FETCH_SECONDS))
    keys = _usable(document.get("keys"))
    if not keys:
        raise ChannelError("The key set holds no key that can be used.")
    return keys


def _object(document: Any) -> Mapping[str, Any]:
    return document if isinstance(document, Mapping) else {}


def _usable(listed: Any) -> dict[str, tuple[RSAKey, frozenset[str]]]:
    keys: dict[str, tuple[RSAKey, frozenset[str]]] = {}
    for item in listed if isinstance(listed, list) else ():
        key_id, endorsed = _object(item).get("kid"), _object(item).get("endorsements")
        if not isinstance(key_id, str) or item.get("kty") != "RSA" or item.get("use", "sig") != "sig":
            continue
        channels = frozenset(map(str, endorsed)) if isinstance(endorsed, list) else frozenset()
        public = {name: item.get(name) for name in ("kty", "n", "e")}
        with suppress(JoseError, ValueError, TypeError):
            key = RSAKey.import_key(public)
            if key.public_key.key_size >= _LEAST_KEY_BITS:
                keys[key_id] = key, channels
    return keys


def verify(headers: Iterable[tuple[bytes, bytes]], *, keys: KeyRing, app_id: str, now: float) -> Caller:
    """Return who calls.

    :param headers: the raw headers of the call.
    :param app_id: the bot's id, which the token has to be for.
    :param now: seconds since 1970.
    :raises SignatureError: when the token is missing, malformed, forged, expired or for somebody else.
    :raises ForeignCallerError: when the key is not endorsed for Teams.
    :raises UnavailableError: when no keys can be had.
    """
    token = _token(headers)
    key, channels = _key(token, keys)
    try:
        claims = jwt.decode(token, key, algorithms=["RS256"]).claims
    except (JoseError, ValueError, TypeError, KeyError):
        raise SignatureError("The token's signature does not fit.") from None
    _check_claims(claims, app_id, now)
    if CHANNEL not in channels:
        raise ForeignCallerError("The token's key is not endorsed for Teams.")
    return Caller(str(claims["serviceurl"]))


def _token(headers: Iterable[tuple[bytes, bytes]]) -> str:
    values = [value for name, value in headers if name.lower() == b"authorization"]
    if len(values) != 1 or len(values[0]) > MAX_TOKEN or not values[0].isascii():
        raise SignatureError("The call needs exactly one Authorization header with a bearer token.")
    found = _BEARER.fullmatch(values[0].decode("ascii"))
    if found is None:
        raise SignatureError("The call's Authorization header holds no bearer token.")
    return found[1]


def _key(token: str, keys: KeyRing) -> tuple[RSAKey, frozenset[str]]:
    try:
        header = extract_compact(token.encode()).headers()
    except (JoseError, ValueError, TypeError, RecursionError):
        raise SignatureError("The token's header cannot be read.") from None
    key_id = header.get("kid") if isinstance(header, Mapping) else None
    if not isinstance(key_id, str) or header.get("alg") != "RS256" or "crit" in header:
        raise SignatureError("The token is not signed by RS256 with a named key.")
    found = keys.find(key_id)
    if found is None:
        raise SignatureError("The token's key is not one of the Bot Framework's.")
    return found


def _check_claims(claims: Any, app_id: str, now: float) -> None:
    claims = _object(claims)
    if claims.get("iss") != ISSUER:
        raise SignatureError("The token is another issuer's.")
    if claims.get("aud") != app_id:
        raise SignatureError("The token is for another bot.")
    expires, starts = claims.get("exp"), claims.get("nbf")
    if not _is_time(expires) or not _is_time(starts) or not isinstance(claims.get("serviceurl"), str):
        raise SignatureError("The token lacks a claim.")
    if not starts - SKEW_SECONDS <= now <= expires + SKEW_SECONDS:
        raise SignatureError("The token is not valid at this time.")


def _is_time(value: Any) -> bool:
    return type(value) in (int, float)
