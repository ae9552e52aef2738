"""``airflow approvals slack manifest | check``."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator

import yaml

from airflow_approvals.channels.slack_api import call, client
from airflow_approvals.channels.slack_check import Step, check
from airflow_approvals.channels.slack_manifest import manifest
from airflow_approvals.channels.slack_signature import parse_secrets
from airflow_approvals.config.named_secrets import is_named, named_secret
from airflow_approvals.config.settings import Settings
from airflow_approvals.errors import ApprovalsError
from airflow_approvals.store import policies
from airflow_approvals.store.session import run_read

_FAILED = 1


def print_manifest(args: Namespace) -> None:
    """Print the manifest of the Slack app, to paste at https://api.slack.com/apps (From a manifest)."""
    base_url = None if args.socket else args.url or Settings.load().base_url
    try:
        document = manifest(base_url=base_url, email=args.email)
    except ApprovalsError as error:
        raise SystemExit(f"approvals: {error}") from None
    print(json.dumps(document, indent=2) if args.json else yaml.safe_dump(document, sort_keys=False), end="")


def check_setup(args: Namespace) -> None:
    """Try the set-up and print each step; exit 1 when one fails."""
    steps = []
    for step in _steps():
        steps.append(step)
        print(f"{'OK  ' if step.ok else 'FAIL'}  {step.name}: {step.said}", flush=True)
        if step.fix:
            print(f"      fix: {step.fix}", flush=True)
    if not all(step.ok for step in steps):
        raise SystemExit(_FAILED)


def _steps() -> Iterator[Step]:
    settings = Settings.load()
    yield _way_back(settings)
    try:
        token = named_secret(settings, "slack_bot_token")
        slack = client(token, settings.slack_api_url)
    except ApprovalsError as error:
        yield Step("settings", ok=False, said=error.message, fix=error.hint)
        return
    if settings.slack_channel is None:
        fix = "Set it to the id of the channel, such as C0123456789."
        yield Step("settings", ok=False, said="[approvals] slack_channel is not set", fix=fix)
        return
    policy = run_read(policies.active_policy)
    yield from check(slack, settings.slack_channel, policy.slack_team if policy is not None else None)


def _way_back(settings: Settings) -> Step:
    """Try what lets clicks come back: the signing secret, or by Socket Mode the app-level token."""
    if is_named(settings, "slack_signing_secret") or not is_named(settings, "slack_app_token"):
        return _signing_secret(settings)
    try:
        web = client(named_secret(settings, "slack_app_token"), settings.slack_api_url)
        call(web.apps_connections_open, app_token=named_secret(settings, "slack_app_token"))
    except ApprovalsError as error:
        fix = error.hint or "Make an app-level token with the scope connections:write."
        return Step("app-level token", ok=False, said=error.message, fix=fix)
    return Step("app-level token", ok=True, said="opens sockets")


def _signing_secret(settings: Settings) -> Step:
    """Whether the secret is the right one shows at the first click."""
    try:
        count = len(parse_secrets(named_secret(settings, "slack_signing_secret")))
    except ApprovalsError as error:
        return Step("signing secret", ok=False, said=error.message, fix=error.hint)
    return Step("signing secret", ok=True, said=f"{count} readable")
