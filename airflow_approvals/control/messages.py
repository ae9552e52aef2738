"""Wiring of the chat channel to this server: its clicks, its decisions, its outbox."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy.orm import Session

from airflow_approvals.channels.slack_interaction import Click
from airflow_approvals.config.settings import Settings
from airflow_approvals.control import chat, identity, outbox
from airflow_approvals.control.decisions import decide
from airflow_approvals.control.views import request_facts
from airflow_approvals.store import ledger, policies
from airflow_approvals.store.session import run_transaction


def process_and_deliver() -> int:
    """Work on waiting clicks, then send what is due; return how many things were settled."""
    return process_clicks() + deliver()


def process_clicks() -> int:
    """Work on the clicks that wait."""
    if not outbox.slack_configured(Settings.load()):
        return 0
    return chat.process_inbox(
        chat.ChatDeps(
            run=run_transaction,
            append=ledger.append,
            directory=_directory,
            find_person=identity.find_person,
            may_answer=_may_answer,
            decide=decide,
            clock=_now,
        )
    )


def deliver() -> int:
    """Send what is due.

    :raises ConfigurationError: when the token file cannot be read.
    """
    settings = Settings.load()
    channel = outbox.slack_channel(settings) if outbox.slack_configured(settings) else None
    if channel is None:
        return 0
    return outbox.deliver_due(
        outbox.OutboxDeps(
            run=run_transaction, append=ledger.append, facts=request_facts, slack=channel, clock=_now
        )
    )


def keep_click(callback_id: str, click: Click) -> bool:
    """Write a click down before it is acknowledged; return whether it is new."""
    return chat.keep_click(run_transaction, callback_id, click, now=_now())


def _now() -> datetime:
    return datetime.now(UTC)


def _directory(session: Session) -> chat.SlackDirectory | None:
    policy = policies.active_policy(session)
    if policy is None or policy.slack_team is None:
        return None
    return chat.SlackDirectory(policy.slack_team, policy.slack_users)


def _may_answer(name: str, dag_id: str) -> bool:
    user = identity.find_user(name)
    return user is not None and identity.may_answer(user, dag_id)
