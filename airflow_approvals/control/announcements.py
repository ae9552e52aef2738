"""What people are told, queued in the transaction of what happened."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from airflow_approvals.config.settings import Settings
from airflow_approvals.control import outbox
from airflow_approvals.store.tables import RequestRow


def enqueue_request(session: Session, request: RequestRow, *, now: datetime) -> None:
    """Queue the announcement of a new request, where a channel is configured."""
    if outbox.slack_configured(Settings.load()):
        outbox.enqueue(session, request.id, "request", now=now)


def enqueue_update(session: Session, request: RequestRow, *, now: datetime) -> None:
    """Queue bringing the messages about a request up to date."""
    if outbox.slack_configured(Settings.load()):
        outbox.enqueue(session, request.id, "update", now=now)
