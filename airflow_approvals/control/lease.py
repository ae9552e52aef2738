"""A lease in the database: a loop that must not run twice runs where the lease is held."""

from __future__ import annotations

import os
import secrets
import socket
from datetime import datetime, timedelta

from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from airflow_approvals.store.tables import LeaseRow

DURATION = timedelta(seconds=20)
#: Name of the dispatcher's lease.
DISPATCHER = "dispatcher"
#: Name of the lease of whoever holds Slack's sockets.
SLACK_SOCKET = "slack-socket"


def new_holder() -> str:
    """Return a name for this process that no other has."""
    return f"{socket.gethostname()[:100]}:{os.getpid()}:{secrets.token_hex(4)}"


def acquire(session: Session, name: str, holder: str, *, now: datetime) -> bool:
    """Take or renew a lease; say whether it is held now.

    The conditional update decides between two takers; a first taker is decided by the key.
    """
    taken = session.execute(
        update(LeaseRow)
        .where(LeaseRow.name == name, (LeaseRow.holder == holder) | (LeaseRow.expires_at < now))
        .values(holder=holder, expires_at=now + DURATION)
    )
    if taken.rowcount:  # type: ignore[attr-defined]
        return True
    if session.get(LeaseRow, name) is not None:
        return False
    try:
        with session.begin_nested():
            session.add(LeaseRow(name=name, holder=holder, acquired_at=now, expires_at=now + DURATION))
    except IntegrityError:
        return False
    return True


def release(session: Session, name: str, holder: str, *, now: datetime) -> None:
    """Let go of a lease, so that another process takes over without waiting it out."""
    session.execute(
        update(LeaseRow).where(LeaseRow.name == name, LeaseRow.holder == holder).values(expires_at=now)
    )
