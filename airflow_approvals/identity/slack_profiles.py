"""What Slack says of an account, asked at most every five minutes per process."""

from __future__ import annotations

import time
from threading import Lock

from airflow_approvals.channels.slack_desk import SlackDesk, SlackProfile
from airflow_approvals.config.named_secrets import is_named, named_secret
from airflow_approvals.config.settings import Settings
from airflow_approvals.errors import ConfigurationError

#: How long an answer of Slack is used again; what could not be answered is asked again at once.
CACHE_SECONDS = 300.0
MAX_CACHED = 1000
_cache: dict[tuple[str, str, str], tuple[float, SlackProfile]] = {}
_lock = Lock()


def desk() -> SlackDesk:
    """Return a desk at the configured workspace.

    :raises ConfigurationError: when no bot token is configured, or it cannot be read.
    """
    return _desk(*_access())


def profile_of(user: str) -> SlackProfile:
    """Return what Slack says of an account, at most five minutes old.

    :raises ApprovalsError: when Slack cannot be asked.
    """
    token, api_url = _access()
    key = (api_url, token, user)
    asked_at = time.monotonic()
    with _lock:
        known = _cache.get(key)
    if known is not None and asked_at - known[0] < CACHE_SECONDS:
        return known[1]
    profile = _desk(token, api_url).profile(user)
    with _lock:
        if len(_cache) >= MAX_CACHED:
            _cache.clear()
        # From before the call: the answer may be as old as that.
        _cache[key] = (asked_at, profile)
    return profile


def forget() -> None:
    """Ask Slack again for everybody."""
    with _lock:
        _cache.clear()


def _access() -> tuple[str, str]:
    settings = Settings.load()
    if not is_named(settings, "slack_bot_token"):
        raise ConfigurationError("No Slack bot token is configured.", "Set [approvals] slack_bot_token_file.")
    return named_secret(settings, "slack_bot_token"), settings.slack_api_url


def _desk(token: str, api_url: str) -> SlackDesk:
    return SlackDesk(token, api_url)
