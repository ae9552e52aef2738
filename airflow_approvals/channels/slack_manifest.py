"""The Slack app, as a manifest to paste: what it may do and where its clicks go, and no more than that.

Source: https://docs.slack.dev/reference/app-manifest/; the schema is published at
https://github.com/slackapi/manifest-schema.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from airflow_approvals.errors import ConfigurationError

INTERACTIONS_PATH = "/approvals/slack/interactions"
#: What the bot may do, and what for.
SCOPES = {
    "chat:write": "post, update, reply, private words",
    "im:write": "tell whoever started a run the outcome",
    "users:read": "tell guests, bots and members of other organisations from your own people",
    "usergroups:read": "ask who is in a user group that the policy names",
    "channels:history": "after a crash, find out whether something was posted (public channels)",
    "groups:history": "the same in private channels",
}
#: Only where the policy matches people by e-mail.
EMAIL_SCOPE = "users:read.email"

_NAME = "Airflow Approvals"


def manifest(*, base_url: str | None, email: bool = False) -> dict[str, Any]:
    """Return the app manifest.

    :param base_url: where Slack reaches Airflow, ``https``; ``None`` for Socket Mode.
    :param email: also let the app read e-mail addresses.
    :raises ConfigurationError: when Slack could not reach that URL.
    """
    interactivity: dict[str, Any] = {"is_enabled": True}
    if base_url is not None:
        interactivity["request_url"] = f"{_reachable(base_url)}{INTERACTIONS_PATH}"
    return {
        "_metadata": {"major_version": 1, "minor_version": 1},
        "display_information": {
            "name": _NAME,
            "description": "Asks people before data leave, and takes their answer.",
        },
        "features": {
            "app_home": {
                "home_tab_enabled": False,
                "messages_tab_enabled": True,
                "messages_tab_read_only_enabled": True,
            },
            "bot_user": {"display_name": _NAME, "always_online": True},
        },
        "oauth_config": {"scopes": {"bot": sorted([*SCOPES, *([EMAIL_SCOPE] if email else [])])}},
        "settings": {
            "interactivity": interactivity,
            "org_deploy_enabled": False,
            "socket_mode_enabled": base_url is None,
            "token_rotation_enabled": False,
        },
    }


def _reachable(base_url: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
        raise ConfigurationError(
            f"Slack cannot reach Airflow at {base_url!r}: it calls https:// addresses only.",
            "Give the public address with --url https://…, or use Socket Mode with --socket.",
        )
    return base_url.rstrip("/")
