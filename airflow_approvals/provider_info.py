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
    ("slack_channel", "string", None, "The id of the Slack channel requests are posted to.", "C0123456789"),
    (
        "model",
        "string",
        "",
        "The spaCy model that masks and classifies: an installed package or a folder. Never downloaded.",
        "en_core_web_lg",
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
