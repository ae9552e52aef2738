"""``airflow approvals break-glass list``."""

from __future__ import annotations

from argparse import Namespace
from datetime import UTC, datetime

from airflow.cli.simple_table import AirflowConsole
from sqlalchemy.orm import Session

from airflow_approvals.store import break_glass
from airflow_approvals.store.release_tables import BreakGlassRow
from airflow_approvals.store.session import run_read

_LIMIT = 500


def list_uses(args: Namespace) -> None:
    """Print the gates that were opened in an emergency, unreviewed first."""
    AirflowConsole().print_as(data=run_read(_rows), output=args.output)


def _rows(session: Session) -> list[dict[str, str]]:
    now = datetime.now(UTC)
    return [
        {
            "request": use.request_id,
            "used_by": use.person_name,
            "used_at": use.used_at.isoformat(timespec="seconds"),
            "ticket": use.ticket,
            "reason": use.reason,
            "review": _review(use, now),
        }
        for use in break_glass.newest(session, _LIMIT)
    ]


def _review(use: BreakGlassRow, now: datetime) -> str:
    if use.reviewed_at is not None:
        return f"by {use.reviewed_by} at {use.reviewed_at.isoformat(timespec='seconds')}"
    due = use.review_due_at.isoformat(timespec="seconds")
    return f"{'OVERDUE since' if use.review_due_at <= now else 'due by'} {due}"
