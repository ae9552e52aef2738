"""How Teams is configured: a bot, a webhook, both or neither."""

from __future__ import annotations

from functools import lru_cache

from airflow_approvals.channels.teams_bot import BotIdentity, TeamsBot
from airflow_approvals.channels.teams_webhook import TeamsWebhook
from airflow_approvals.config.settings import Settings, read_secret

ENDPOINT = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"


def bot_configured(settings: Settings) -> bool:
    """Whether requests are announced by the bot: all that it takes is named."""
    return not missing_bot_options(settings)


def missing_bot_options(settings: Settings) -> tuple[str, ...]:
    """Return the options that are missing for the bot; all four when it is not wanted."""
    named = {
        "teams_app_id": settings.teams_app_id,
        "teams_app_password_file": settings.teams_app_password_file,
        "teams_tenant": settings.teams_tenant,
        "teams_conversation": settings.teams_conversation,
    }
    return tuple(name for name, value in named.items() if not value)


def bot(settings: Settings) -> TeamsBot | None:
    """Return the bot's conversation, or ``None`` without one.

    :raises ConfigurationError: when the secret file cannot be read or an option has no valid form.
    """
    app_id, tenant, conversation = settings.teams_app_id, settings.teams_tenant, settings.teams_conversation
    if not (app_id and tenant and conversation and settings.teams_app_password_file):
        return None
    password = read_secret(settings.teams_app_password_file, "teams_app_password_file")
    token_url = settings.teams_token_url or ENDPOINT.format(tenant=tenant)
    return _bot(BotIdentity(app_id, password, tenant, token_url), conversation, settings.teams_service_url)


def webhook(settings: Settings) -> TeamsWebhook | None:
    """Return the webhook, or ``None`` without one.

    :raises ConfigurationError: when the file cannot be read or holds no https address.
    """
    if settings.teams_webhook_url_file is None:
        return None
    return TeamsWebhook(read_secret(settings.teams_webhook_url_file, "teams_webhook_url_file"))


@lru_cache(maxsize=8)
def _bot(identity: BotIdentity, conversation: str, service_url: str) -> TeamsBot:
    """It keeps its access token, so the same settings give the same one."""
    return TeamsBot(identity, conversation, service_url)
