"""``airflow approvals list | show | dispatcher``."""

from __future__ import annotations

import logging
import signal
from argparse import Namespace
from typing import TYPE_CHECKING

from airflow.cli.simple_table import AirflowConsole
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.config.settings import Settings
from airflow_approvals.identity.directory import Membership
from airflow_approvals.store.session import run_read
from airflow_approvals.store.tables import RequestRow

if TYPE_CHECKING:
    from airflow_approvals.control.deliveries import Delivery


def list_requests(args: Namespace) -> None:
    """Print requests as a table, newest first."""
    rows = run_read(lambda session: _rows(session, args.state, args.limit))
    AirflowConsole().print_as(data=rows, output=args.output)


def show(args: Namespace) -> None:
    """Print one request as approvers see it."""
    from airflow_approvals.control import judging

    members = judging.membership_now()
    text = run_read(lambda session: _text(session, args.request_id, members))
    if text is None:
        raise SystemExit(f"approvals: there is no request {args.request_id}; see `airflow approvals list`.")
    print(text)


def dispatcher(args: Namespace) -> None:
    """Run the dispatcher until it is told to end (SIGTERM or SIGINT)."""
    from airflow_approvals.dispatcher import Dispatcher

    logging.basicConfig(level=logging.INFO)
    loop = Dispatcher(Settings.load())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.request_stop())
    print("approvals dispatcher: running", flush=True)
    loop.start()
    loop.wait()


def _rows(session: Session, state: str | None, limit: int) -> list[dict[str, str]]:
    query = select(RequestRow).order_by(RequestRow.created_at.desc()).limit(limit)
    if state is not None:
        query = query.where(RequestRow.state == state)
    return [
        {
            "id": row.id,
            "state": row.state,
            "action": row.action,
            "sink": row.sink,
            "label": row.label,
            "gate": str(row.place),
            "expires_at": row.expires_at.isoformat(timespec="seconds"),
        }
        for row in session.scalars(query)
    ]


def _text(session: Session, request_id: str, members: Membership) -> str | None:
    from airflow_approvals.channels import plain_text
    from airflow_approvals.control import deliveries
    from airflow_approvals.control.views import request_facts

    if session.get(RequestRow, request_id) is None:
        return None
    told = deliveries.of_request(session, request_id)
    return plain_text.render(request_facts(session, request_id, members), [_told(one) for one in told])


def _told(delivery: Delivery) -> str:
    tried = f" {delivery.kind}, attempt {delivery.attempts}" if delivery.attempts else ""
    return f"{delivery.medium}: {delivery.state}{tried}{': ' + delivery.error if delivery.error else ''}"
