"""Which media are configured, and the couriers that speak through them."""

from __future__ import annotations

from collections.abc import Callable

from airflow_approvals.channels import teams_webhook
from airflow_approvals.channels.courier import Courier
from airflow_approvals.channels.slack import SlackChannel
from airflow_approvals.config.named_secrets import is_named, named_secret
from airflow_approvals.config.settings import Settings
from airflow_approvals.control import faults, teams_media
from airflow_approvals.core.models import Channel
from airflow_approvals.errors import ConfigurationError


def configured(settings: Settings) -> tuple[str, ...]:
    """Return the media that requests are announced in."""
    media = {
        Channel.SLACK.value: slack_configured(settings),
        Channel.TEAMS.value: teams_media.bot_configured(settings),
        teams_webhook.MEDIUM: settings.teams_webhook_url_file is not None,
    }
    return tuple(medium for medium, wanted in media.items() if wanted)


def is_lasting(medium: str) -> bool:
    """Whether what was said in a medium stays as it is; it is told of a request and its end only."""
    return medium == teams_webhook.MEDIUM


def couriers(settings: Settings) -> tuple[Courier, ...]:
    """Return a courier for each medium that is configured; one that is configured wrong is reported,
    and holds up no other.
    """
    makers: tuple[Callable[[Settings], Courier | None], ...] = (
        lambda chosen: slack_channel(chosen) if slack_configured(chosen) else None,
        teams_media.bot,
        teams_media.webhook,
    )
    made = [_courier(make, settings) for make in makers]
    return tuple(courier for courier in made if courier is not None)


def _courier(make: Callable[[Settings], Courier | None], settings: Settings) -> Courier | None:
    try:
        return make(settings)
    except ConfigurationError as error:
        faults.report("deliver messages by a medium", error)
        return None


def slack_configured(settings: Settings) -> bool:
    """Whether requests are announced in Slack: token, channel, and a way for clicks to come back."""
    return not missing_slack_options(settings)


def missing_slack_options(settings: Settings) -> tuple[str, ...]:
    """Return the options that are missing for Slack; all three when Slack is not wanted.

    Clicks come back over HTTP, proven by the signing secret, or by a socket with its own token.
    """
    named = {
        "slack_bot_token_file": is_named(settings, "slack_bot_token"),
        "slack_signing_secret_file": is_named(settings, "slack_signing_secret")
        or settings.slack_app_token_file,
        "slack_channel": settings.slack_channel,
    }
    return tuple(name for name, value in named.items() if not value)


def slack_channel(settings: Settings) -> SlackChannel | None:
    """Return the configured channel, or ``None`` without one.

    :raises ConfigurationError: when the token cannot be read or an option has no valid form.
    """
    if not is_named(settings, "slack_bot_token") or settings.slack_channel is None:
        return None
    token = named_secret(settings, "slack_bot_token")
    return SlackChannel(token, settings.slack_channel, settings.slack_api_url, settings.base_url)
