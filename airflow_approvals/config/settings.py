"""The ``[approvals]`` section of Airflow's configuration, read once at use.

Secrets are never options: an option names the file that holds one, or its key in a secrets backend.
"""

from __future__ import annotations

import os
import re
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
    when no policy is active; ``max_pending_per_dag`` requests of a DAG may wait for people at once;
    ``service_accounts`` are ids or names of users that are no person;
    ``custodian_sources`` are the URI prefixes below which the custodian reads staged data.
    """

    policy_file: Path | None = None
    projection_file: Path | None = None
    protected_connections: frozenset[str] = frozenset()
    service_accounts: frozenset[str] = frozenset()
    signing_key_file: Path | None = None
    dispatcher_enabled: bool = True
    dispatcher_interval_seconds: float = 1.0
    max_pending_per_dag: int = 200
    slack_bot_token_file: Path | None = None
    slack_signing_secret_file: Path | None = None
    slack_app_token_file: Path | None = None
    slack_bot_token_secret: str | None = None
    slack_signing_secret_secret: str | None = None
    slack_channel: str | None = None
    slack_api_url: str = "https://slack.com/api/"
    webhook_url: str | None = None
    webhook_secret_file: Path | None = None
    teams_webhook_url_file: Path | None = None
    teams_app_id: str | None = None
    teams_app_password_file: Path | None = None
    teams_tenant: str | None = None
    teams_conversation: str | None = None
    teams_service_url: str = "https://smba.trafficmanager.net/teams/"
    teams_token_url: str | None = None
    teams_openid_url: str = "https://login.botframework.com/v1/.well-known/openidconfiguration"
    custodian_connections_file: Path | None = None
    custodian_key_file: Path | None = None
    custodian_sources: tuple[str, ...] = ()
    base_url: str = "http://localhost:8080"

    @property
    def secret_files(self) -> dict[str, Path]:
        """The secret files that are named, by option."""
        options = (
            "signing_key_file",
            "slack_bot_token_file",
            "slack_signing_secret_file",
            "webhook_secret_file",
            "slack_app_token_file",
            "teams_webhook_url_file",
            "teams_app_password_file",
            "custodian_connections_file",
            "custodian_key_file",
        )
        named = {option: getattr(self, option) for option in options}
        return {option: path for option, path in named.items() if path is not None}

    @classmethod
    def load(cls) -> Settings:
        """Read the options from Airflow's configuration.

        :raises ConfigurationError: when an option has no valid form.
        """
        from airflow.configuration import conf

        def option(name: str, default: str = "") -> str:
            return (conf.get(SECTION, name, fallback=default) or "").strip()

        return cls(
            policy_file=_path(option("policy_file")),
            projection_file=_path(option("projection_file")),
            protected_connections=_names(option("protected_connections")),
            service_accounts=_names(option("service_accounts")),
            signing_key_file=_path(option("signing_key_file")),
            dispatcher_enabled=_flag("dispatcher_enabled", option("dispatcher_enabled", "True")),
            dispatcher_interval_seconds=_seconds(
                "dispatcher_interval_seconds", option("dispatcher_interval_seconds", "1.0")
            ),
            max_pending_per_dag=_number("max_pending_per_dag", option("max_pending_per_dag", "200")),
            slack_bot_token_file=_path(option("slack_bot_token_file")),
            slack_signing_secret_file=_path(option("slack_signing_secret_file")),
            slack_app_token_file=_path(option("slack_app_token_file")),
            slack_bot_token_secret=option("slack_bot_token_secret") or None,
            slack_signing_secret_secret=option("slack_signing_secret_secret") or None,
            slack_channel=option("slack_channel") or None,
            slack_api_url=option("slack_api_url", cls.slack_api_url),
            webhook_url=option("webhook_url") or None,
            webhook_secret_file=_path(option("webhook_secret_file")),
            teams_webhook_url_file=_path(option("teams_webhook_url_file")),
            teams_app_id=option("teams_app_id").lower() or None,
            teams_app_password_file=_path(option("teams_app_password_file")),
            teams_tenant=option("teams_tenant").lower() or None,
            teams_conversation=option("teams_conversation") or None,
            teams_service_url=option("teams_service_url", cls.teams_service_url),
            teams_token_url=option("teams_token_url") or None,
            teams_openid_url=option("teams_openid_url", cls.teams_openid_url),
            custodian_connections_file=_path(option("custodian_connections_file")),
            custodian_key_file=_path(option("custodian_key_file")),
            custodian_sources=tuple(sorted(_names(option("custodian_sources")))),
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


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def _path(text: str) -> Path | None:
    return Path(text).expanduser() if text else None


def _flag(name: str, text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise ConfigurationError(f"[approvals] {name} must be True or False.")
    return words[text.lower()]


def _number(name: str, text: str) -> int:
    number = int(text) if re.fullmatch(r"[0-9]{1,6}", text) else 0
    if number < 1:
        raise ConfigurationError(f"[approvals] {name} must be a whole number from 1 to 999999.")
    return number


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    # A longer rest would let the dispatcher's lease lapse between two rounds.
    if not 0.05 <= seconds <= 10:
        raise ConfigurationError(f"[approvals] {name} must be between 0.05 and 10 seconds.")
    return seconds
