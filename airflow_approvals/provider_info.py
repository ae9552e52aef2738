"""What Airflow's provider machinery learns about this package."""

from __future__ import annotations

from typing import Any

#: (option, type, default, description, example). Secrets are never options: an option names a file.
_OPTIONS: tuple[tuple[str, str, str | None, str, str | None], ...] = (
    (
        "policy_file",
        "string",
        None,
        "The policy file that `airflow approvals policy lint` and `activate` read.",
        "/etc/airflow/approvals/policy.yaml",
    ),
    (
        "projection_file",
        "string",
        None,
        "Where `policy activate` writes what DAG parsers may know of the policy: ids, no people, no rules.",
        "/etc/airflow/approvals/projection.json",
    ),
    (
        "protected_connections",
        "string",
        "",
        "Comma-separated connection ids that stay shut without a grant, even when no policy is active.",
        "training_bucket,training_api",
    ),
    (
        "service_accounts",
        "string",
        "",
        "Comma-separated ids or names of users that are programs: they may ask, and never vote.",
        "retraining-agent",
    ),
    (
        "signing_key_file",
        "string",
        None,
        "The Ed25519 private key (PEM) that signs grants; readable by its owner only.",
        "/etc/airflow/approvals/signing.pem",
    ),
    (
        "dispatcher_enabled",
        "boolean",
        "True",
        "Whether API servers run the dispatcher. False where `airflow approvals dispatcher` runs by itself.",
        None,
    ),
    (
        "dispatcher_interval_seconds",
        "float",
        "1.0",
        "How long the dispatcher rests between two rounds, in seconds.",
        None,
    ),
    (
        "max_pending_per_dag",
        "integer",
        "200",
        "How many requests of one DAG may wait for a decision at once; further ones are refused, unasked.",
        None,
    ),
    (
        "slack_bot_token_file",
        "string",
        None,
        "The file that holds the Slack bot token (xoxb-…).",
        "/etc/airflow/approvals/slack-token",
    ),
    (
        "slack_signing_secret_file",
        "string",
        None,
        "The file that holds the Slack signing secret; two lines while it is being rotated.",
        "/etc/airflow/approvals/slack-signing-secret",
    ),
    (
        "slack_app_token_file",
        "string",
        None,
        "The file that holds the app-level token (xapp-…), for `airflow approvals slack socket`.",
        "/etc/airflow/approvals/slack-app-token",
    ),
    (
        "slack_bot_token_secret",
        "string",
        None,
        "In place of the file: the key under which the server's secrets backend keeps the bot token, "
        "as configuration. Never the metadata database.",
        "approvals-slack-bot-token",
    ),
    (
        "slack_signing_secret_secret",
        "string",
        None,
        "In place of the file: the key under which the server's secrets backend keeps the signing secret, "
        "as configuration. Never the metadata database.",
        "approvals-slack-signing-secret",
    ),
    ("slack_channel", "string", None, "The id of the Slack channel requests are posted to.", "C0123456789"),
    (
        "webhook_url",
        "string",
        None,
        "Where events about requests are sent as signed CloudEvents (https).",
        "https://hooks.example.com/approvals",
    ),
    (
        "webhook_secret_file",
        "string",
        None,
        "The file that holds the secret that signs events (whsec_…); two lines while it is being rotated.",
        "/etc/airflow/approvals/webhook-secret",
    ),
    (
        "teams_webhook_url_file",
        "string",
        None,
        "The file that holds the address of a Teams Workflows webhook; its cards link to Airflow.",
        "/etc/airflow/approvals/teams-webhook-url",
    ),
    (
        "teams_app_id",
        "string",
        None,
        "The application id of the Teams bot.",
        "11111111-2222-3333-4444-555555555555",
    ),
    (
        "teams_app_password_file",
        "string",
        None,
        "The file that holds the client secret of the Teams bot.",
        "/etc/airflow/approvals/teams-app-password",
    ),
    (
        "teams_tenant",
        "string",
        None,
        "The Entra tenant whose people may answer in Teams; nobody of another tenant may.",
        "66666666-7777-8888-9999-000000000000",
    ),
    (
        "teams_conversation",
        "string",
        None,
        "The id of the Teams channel or group chat that the bot posts requests to.",
        "19:0123456789abcdef@thread.tacv2",
    ),
    (
        "teams_service_url",
        "string",
        "https://smba.trafficmanager.net/teams/",
        "The base URL of the Bot Framework connector; calls about activities of other hosts are refused.",
        None,
    ),
    (
        "teams_token_url",
        "string",
        None,
        "Where the bot signs in; the token endpoint of `teams_tenant` when left out.",
        "https://login.microsoftonline.com/botframework.com/oauth2/v2.0/token",
    ),
    (
        "teams_openid_url",
        "string",
        "https://login.botframework.com/v1/.well-known/openidconfiguration",
        "The OpenID metadata that names the keys by which Teams' calls are checked.",
        None,
    ),
    (
        "model",
        "string",
        "",
        "The spaCy model that masks and classifies: an installed package or a folder. Never downloaded.",
        "en_core_web_lg",
    ),
    (
        "custodian_connections_file",
        "string",
        None,
        "The file (YAML, connection id: URI) with the credentials of content-bound sinks; "
        "readable by the custodian only.",
        "/etc/airflow/custodian/connections.yaml",
    ),
    (
        "custodian_key_file",
        "string",
        None,
        "The Ed25519 private key (PEM) that signs what the custodian found; readable by the custodian only.",
        "/etc/airflow/custodian/signing.pem",
    ),
    (
        "custodian_sources",
        "string",
        "",
        "Comma-separated URI prefixes below which the custodian reads staged data, and nowhere else. "
        "It does not start without.",
        "/srv/approvals/masked,s3://staging_reader@staging/masked",
    ),
    ("slack_api_url", "string", "https://slack.com/api/", "The base URL of Slack's Web API.", None),
)


def get_provider_info() -> dict[str, Any]:
    """Return the provider info (Airflow's ``provider_info.schema.json``)."""
    return {
        "package-name": "airflow-approvals",
        "name": "Approvals",
        "description": "Masking, human approvals and a verifiable audit ledger.",
        "db-managers": ["airflow_approvals.store.db_manager.ApprovalsDBManager"],
        "notifications": ["airflow_approvals.notifications.approval.ApprovalNotifier"],
        "cli": ["airflow_approvals.cli.get_cli_commands"],
        "config": {
            "approvals": {
                "description": "Approvals, masking and the audit ledger.",
                "options": {option[0]: _option(*option) for option in _OPTIONS},
            }
        },
    }


def _option(
    name: str, kind: str, default: str | None, description: str, example: str | None
) -> dict[str, Any]:
    return {
        "description": description,
        "version_added": "0.1.0",
        "type": kind,
        "example": example,
        "default": default,
    }
