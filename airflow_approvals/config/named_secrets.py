"""Chat secrets: from a file, or from the secrets backend of the server; never from the metadata database.

A backend is asked for configuration (``get_config``), not for a Variable or a Connection: those a
task may ask the API server for, which would look them up in the same backend.
"""

from __future__ import annotations

import logging
import time
from threading import Lock
from typing import Any

from airflow_approvals.config.settings import Settings, read_secret
from airflow_approvals.errors import ConfigurationError

log = logging.getLogger(__name__)

CHAT_SECRETS = (
    "slack_bot_token",
    "slack_signing_secret",
    "slack_app_token",
    "webhook_secret",
    "teams_webhook_url",
    "teams_app_password",
)
#: How long an answer of the backend is used again; a file is read at each use.
CACHE_SECONDS = 60.0
#: How long a failure of the backend is an answer as well.
FAILED_SECONDS = 5.0
#: How long to wait for an answer that somebody else has asked for.
WAIT_SECONDS = 2.0
#: How long an answer stands in for one that cannot be had.
KEPT_SECONDS = 600.0
_cache: dict[str, tuple[float, str]] = {}
_failures: dict[str, tuple[float, ConfigurationError]] = {}
#: One caller asks for a key at a time; a key that hangs holds up no other.
_asking: dict[str, Lock] = {}


class _NoAnswerError(ConfigurationError):
    """The backend did not say what it holds; "nothing" would be an answer."""


def is_named(settings: Settings, name: str) -> bool:
    """Whether a file or a key names the secret; it may still be unreadable."""
    return bool(getattr(settings, f"{name}_file") or key_of(settings, name))


def key_of(settings: Settings, name: str) -> str | None:
    """Return the key under which the backend keeps the secret; not every secret has that option."""
    key: str | None = getattr(settings, f"{name}_secret", None)
    return key


def named_secret(settings: Settings, name: str) -> str:
    """Return a secret, from ``<name>_file`` or from the backend's ``<name>_secret``.

    :param name: one of :data:`CHAT_SECRETS`.
    :raises ConfigurationError: when neither or both are set, or it cannot be read.
    """
    path, key = getattr(settings, f"{name}_file"), key_of(settings, name)
    if path is not None and key is not None:
        raise ConfigurationError(
            f"Both [approvals] {name}_file and {name}_secret are set.", "Keep the one that holds."
        )
    if path is not None:
        return read_secret(path, f"{name}_file")
    if key is not None:
        return _from_backend(key, f"{name}_secret")
    raise ConfigurationError(f"Neither [approvals] {name}_file nor {name}_secret is set.")


def _from_backend(key: str, option: str) -> str:
    if (known := _known(key)) is not None:
        return known
    backend = _backend(option)
    asking = _asking.setdefault(key, Lock())
    if not asking.acquire(timeout=WAIT_SECONDS):
        return _kept(key, _NoAnswerError(f"The secrets backend does not answer for [approvals] {option}."))
    try:
        return _known(key) or _asked_once(backend, key, option)
    finally:
        asking.release()


def _known(key: str) -> str | None:
    """Return what is known of a key; :raises ConfigurationError: what the backend just answered with."""
    now = time.monotonic()
    at, value = _cache.get(key, (-CACHE_SECONDS, ""))
    if value and now - at < CACHE_SECONDS:
        return value
    failed = _failures.get(key)
    if failed is not None and now - failed[0] < FAILED_SECONDS:
        return _kept(key, type(failed[1])(failed[1].message, failed[1].hint))
    return None


def _kept(key: str, error: ConfigurationError) -> str:
    """Return the last answer while the backend gives none.

    :raises ConfigurationError: the failure, when there is no answer of late or this one holds.
    """
    at, value = _cache.get(key, (0.0, ""))
    if value and isinstance(error, _NoAnswerError) and time.monotonic() - at < KEPT_SECONDS:
        return value
    raise error


def _asked_once(backend: Any, key: str, option: str) -> str:
    asked_at = time.monotonic()
    try:
        value = _asked(backend, key, option)
    except ConfigurationError as error:
        _failures[key] = (time.monotonic(), error)
        log.warning("approvals: %s", error.message)
        return _kept(key, error)
    _cache[key] = (asked_at, value)
    return value


def _asked(backend: Any, key: str, option: str) -> str:
    try:
        value = backend.get_config(key)
    except Exception as error:
        # Whatever a backend raises may quote what it was given.
        raise _NoAnswerError(
            f"The secrets backend failed at the key of [approvals] {option} ({type(error).__name__})."
        ) from None
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(
            f"The secrets backend holds no configuration under the key of [approvals] {option}.",
            "Store it where the backend keeps configuration (config_prefix), not as a Variable.",
        )
    return value.strip()


def _backend(option: str) -> Any:
    """Return the server's own backend; Airflow's default ones are not asked."""
    from airflow.configuration import get_custom_secret_backend
    from airflow.secrets.metastore import MetastoreBackend

    backend = get_custom_secret_backend()
    if backend is None:
        raise ConfigurationError(
            f"[approvals] {option} is set, and no [secrets] backend is.",
            f"Configure one for the API server, or use {option.removesuffix('_secret')}_file.",
        )
    if isinstance(backend, MetastoreBackend):
        raise ConfigurationError(
            f"[approvals] {option} would be read from the metadata database.",
            "Whoever may edit it could sign clicks as anyone: use another backend, or a file.",
        )
    return backend
