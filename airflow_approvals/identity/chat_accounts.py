"""Whose accounts of any chat are whose: the one place where people become accounts."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy.orm import Session

from airflow_approvals.core.models import Channel
from airflow_approvals.identity import slack_accounts
from airflow_approvals.store import policies


def accounts_of(session: Session, people: Collection[str], chat: Channel) -> dict[str, str]:
    """Return the accounts of people in a chat, and to whom each belongs.

    :param people: ids or names of Airflow users.
    """
    if chat is Channel.SLACK:
        return slack_accounts.accounts_of(session, people)
    policy = policies.active_policy(session)
    if policy is None:
        return {}
    return {account: name for name in sorted(people) for account in policy.accounts_of({name}, chat)}
