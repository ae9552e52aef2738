"""The ``[approvals]`` section of Airflow's configuration, read once at use.

Secrets are never options: an option names the file that holds one.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from airflow_approvals.errors import ConfigurationError

SECTION = "approvals"
_MAX_SECRET_BYTES = 64 * 1024


@dataclass(frozen=True)
class Settings:
    """What a deployment decided.

    ``dispatcher_interval_seconds`` is how long the dispatcher rests between two rounds;
    ``protected_connections`` are Airflow connection ids that stay shut without a grant even
    when no policy is active.
    """

    policy_file: Path | None = None
    projection_file: Path | None = None
    protected_connections: frozenset[str] = frozenset()
    signing_key_file: Path | None = None
    dispatcher_enabled: bool = True
    dispatcher_interval_seconds: float = 1.0
    slack_bot_token_file: Path | None = None
    slack_signing_secret_file: Path | None = None
    slack_channel: str | None = None
    slack_api_url: str = "https://slack.com/api/"
    base_url: str = "http://localhost:8080"

    @classmethod
    def load(cls) -> Settings:
        """Read the options from Airflow's configuration.

        :raises ConfigurationError: when an option has no valid form.
        """
        from airflow.configuration import conf

        def option(name: str, default: str = "") -> str:
            return (conf.get(SECTION, name, fallback=default) or "").strip()

        listed = option("protected_connections").split(",")
        return cls(
            policy_file=_path(option("policy_file")),
            projection_file=_path(option("projection_file")),
            protected_connections=frozenset(name.strip() for name in listed if name.strip()),
            signing_key_file=_path(option("signing_key_file")),
            dispatcher_enabled=_flag("dispatcher_enabled", option("dispatcher_enabled", "True")),
            dispatcher_interval_seconds=_seconds(
                "dispatcher_interval_seconds", option("dispatcher_interval_seconds", "1.0")
            ),
            slack_bot_token_file=_path(option("slack_bot_token_file")),
            slack_signing_secret_file=_path(option("slack_signing_secret_file")),
            slack_channel=option("slack_channel") or None,
            slack_api_url=option("slack_api_url", cls.slack_api_url),
            base_url=(conf.get("api", "base_url", fallback="") or cls.base_url).rstrip("/"),
        )


def read_secret(path: Path, option: str) -> str:
    """Return the text of a secret file, without surrounding white space.

    :param option: the option that names the file, for the error.
    :raises ConfigurationError: when the file cannot be read, is empty or absurdly large.
    """
    try:
        # Without O_NONBLOCK a named pipe would hold the server up.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8") as file:
            _require_private(os.fstat(file.fileno()), option)
            text = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The file of [approvals] {option} cannot be read.",
            "Create it, readable by the API server's user only.",
        ) from error
    if not text:
        raise ConfigurationError(f"The file of [approvals] {option} is empty.")
    return text


def _require_private(status: os.stat_result, option: str) -> None:
    if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_SECRET_BYTES:
        raise ConfigurationError(f"What [approvals] {option} names is no secret file.")
    if status.st_mode & 0o077:
        raise ConfigurationError(
            f"The file of [approvals] {option} can be read or changed by others than its owner.",
            "Run `chmod 600` on it, as the user the server runs as.",
        )


def _path(text: str) -> Path | None:
    return Path(text).expanduser() if text else None


def _flag(name: str, text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise ConfigurationError(f"[approvals] {name} must be True or False.")
    return words[text.lower()]


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    # A longer rest would let the dispatcher's lease lapse between two rounds.
    if not 0.05 <= seconds <= 10:
        raise ConfigurationError(f"[approvals] {name} must be between 0.05 and 10 seconds.")
    return seconds
