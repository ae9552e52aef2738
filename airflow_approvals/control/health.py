"""How the control plane is: what an operator has to know before an approver complains."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from airflow_approvals.config.named_secrets import is_named
from airflow_approvals.config.settings import Settings
from airflow_approvals.control import lease, policy_drift, signing_key
from airflow_approvals.core.models import RequestState
from airflow_approvals.errors import ApprovalsError
from airflow_approvals.store import break_glass, policies
from airflow_approvals.store.session import run_read
from airflow_approvals.store.tables import IntakeRow, LeaseRow, OutboxRow, RequestRow

#: A gate parks within seconds of its intake; longer says that nobody registers requests.
SLOW_REGISTRATION = timedelta(seconds=60)
SLOW_EXPIRY = timedelta(seconds=60)


def report() -> dict[str, Any]:
    """Return the figures and the problems found; ages in seconds."""
    found = figures()
    problems = [*_setup_problems(), *_late(found)]
    return {"healthy": not problems, "problems": problems, **found}


def figures() -> dict[str, Any]:
    """Return the figures: counts, and ages in seconds."""
    now = datetime.now(UTC)
    return run_read(lambda session: _figures(session, now))


def _figures(session: Session, now: datetime) -> dict[str, Any]:
    held = session.get(LeaseRow, lease.DISPATCHER)
    pending = select(func.count()).where(RequestRow.state == RequestState.PENDING)
    due = select(func.min(RequestRow.expires_at)).where(RequestRow.state == RequestState.PENDING)
    waiting = select(func.count(), func.min(IntakeRow.received_at)).where(IntakeRow.state == "new")
    undelivered = (
        select(func.count())
        .select_from(OutboxRow)
        .join(RequestRow, RequestRow.id == OutboxRow.request_id)
        .where(OutboxRow.state == "failed", RequestRow.state == RequestState.PENDING)
    )
    count, oldest = session.execute(waiting).one()
    return {
        "lease_age": (now - (held.expires_at - lease.DURATION)).total_seconds() if held else None,
        "pending": session.scalar(pending) or 0,
        "oldest_due": _age(session.scalar(due), now),
        "unregistered": count,
        "oldest_unregistered": _age(oldest, now),
        "undelivered": session.scalar(undelivered) or 0,
        "break_glass_overdue": len(break_glass.overdue(session, now)),
    }


def _age(instant: datetime | None, now: datetime) -> float:
    return max(0.0, (now - instant).total_seconds()) if instant else 0.0


def _late(figures: dict[str, Any]) -> list[str]:
    problems = []
    age = figures["lease_age"]
    if age is None or age > lease.DURATION.total_seconds():
        problems.append("No dispatcher is running: nothing is registered, announced or expired.")
    if figures["oldest_due"] > SLOW_EXPIRY.total_seconds():
        problems.append("Requests are overdue and have not been closed.")
    if figures["oldest_unregistered"] > SLOW_REGISTRATION.total_seconds():
        problems.append("Gates have asked and their requests are not registered.")
    if figures["undelivered"]:
        problems.append("Messages about open requests could not be delivered.")
    if figures["break_glass_overdue"]:
        problems.append("A gate was opened by break-glass and not reviewed in time.")
    return problems


def _setup_problems() -> list[str]:
    problems = []
    for check in (_key_problem, _policy_problem, policy_drift.problem, _socket_problem):
        try:
            problem = check()
        except ApprovalsError as error:
            problem = str(error)
        if problem:
            problems.append(problem)
    return problems


def _key_problem() -> str | None:
    signing_key.load()
    return None


def _socket_problem() -> str | None:
    settings = Settings.load()
    if settings.slack_app_token_file is None or is_named(settings, "slack_signing_secret"):
        return None
    if run_read(_holds_sockets):
        return None
    return "Nobody holds Slack's sockets, so clicks do not arrive: run `airflow approvals slack socket`."


def _holds_sockets(session: Session) -> bool:
    held = session.get(LeaseRow, lease.SLACK_SOCKET)
    return held is not None and held.expires_at > datetime.now(UTC)


def _policy_problem() -> str | None:
    if run_read(policies.active_policy) is None:
        return "No policy is active, so every gate refuses: run `airflow approvals policy activate`."
    return None
