"""Groups by Slack user group; only members whose Airflow user is known count."""

from __future__ import annotations

import time
from collections.abc import Mapping

from airflow_approvals.channels.slack import SlackChannel
from airflow_approvals.config.named_secrets import is_named, named_secret
from airflow_approvals.config.settings import Settings
from airflow_approvals.core.groups import Group
from airflow_approvals.core.policy import Policy
from airflow_approvals.errors import ApprovalsError
from airflow_approvals.identity import slack_accounts
from airflow_approvals.identity.answers import Answers, CannotAskError
from airflow_approvals.store.session import run_read

#: How long an answer of Slack is used again.
CACHE_SECONDS = 5.0
_Answer = frozenset[str] | str
_cache: dict[tuple[str, str, str], tuple[float, _Answer]] = {}


def members(policy: Policy, groups: Mapping[str, Group]) -> Answers:
    """Return the members with a known account; a group that Slack does not tell of has its reason."""
    settings = Settings.load()
    if policy.slack_team is None or not is_named(settings, "slack_bot_token") or not settings.slack_channel:
        raise CannotAskError("It is a Slack user group, but Slack is not set up.")
    try:
        token = named_secret(settings, "slack_bot_token")
        slack = SlackChannel(token, settings.slack_channel, settings.slack_api_url)
    except ApprovalsError as error:
        raise CannotAskError(str(error)) from error
    found = {
        name: _asked((settings.slack_api_url, token, g.value), slack, g.value) for name, g in groups.items()
    }
    owners = run_read(lambda session: slack_accounts.voters(session, policy))
    return Answers(
        {name: _owned(owners, answer) for name, answer in found.items()},
        {name: answer for name, answer in found.items() if isinstance(answer, str)},
    )


def _owned(owners: Mapping[str, str], answer: _Answer) -> frozenset[str]:
    accounts = frozenset[str]() if isinstance(answer, str) else answer
    return frozenset(owners[account] for account in accounts if account in owners)


def _asked(key: tuple[str, str, str], slack: SlackChannel, usergroup: str) -> _Answer:
    """Ask Slack, or use what it said seconds ago; a failure replaces what was known."""
    asked_at = time.monotonic()
    known = _cache.get(key)
    if known is not None and asked_at - known[0] < CACHE_SECONDS:
        return known[1]
    try:
        answer: _Answer = slack.usergroup_members(usergroup)
    except ApprovalsError as error:
        answer = str(error)
    # From before the call: the answer may be as old as that.
    _cache[key] = (asked_at, answer)
    return answer
