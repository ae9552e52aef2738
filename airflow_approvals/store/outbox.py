"""The outbox and the deliveries: what is still to be said, and what stands where.

A row is claimed by moving its ``due_at`` into the future, comparing the one that was seen: when
the claimant dies, the row falls due again by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from airflow_approvals.store.tables import DeliveryRow, OutboxRow

DUE = "due"
SENT = "sent"
FAILED = "failed"


def add(
    session: Session,
    request_id: str,
    kind: str,
    *,
    channel: str,
    recipient: str = "",
    text: str = "",
    now: datetime,
) -> OutboxRow:
    """Queue a message, due at once."""
    row = OutboxRow(
        request_id=request_id,
        channel=channel,
        kind=kind,
        recipient=recipient,
        text=text,
        state=DUE,
        attempts=0,
        created_at=now,
        due_at=now,
        last_error=None,
    )
    session.add(row)
    session.flush()
    return row


def due(session: Session, *, channel: str, now: datetime, limit: int) -> Sequence[int]:
    """Return the ids of rows that are due, in the order in which they fell due."""
    found = select(OutboxRow.id).where(
        OutboxRow.channel == channel, OutboxRow.state == DUE, OutboxRow.due_at <= now
    )
    return list(session.scalars(found.order_by(OutboxRow.due_at, OutboxRow.id).limit(limit)))


def claim(session: Session, row_id: int, *, now: datetime, until: datetime) -> OutboxRow | None:
    """Claim a due row until ``until``; ``None`` when it is not due (any more)."""
    claimed = session.execute(
        update(OutboxRow)
        .where(OutboxRow.id == row_id, OutboxRow.state == DUE, OutboxRow.due_at <= now)
        .values(due_at=until, attempts=OutboxRow.attempts + 1)
        .returning(OutboxRow.id)
    )
    if claimed.first() is None:
        return None
    return session.get_one(OutboxRow, row_id, populate_existing=True)


def open_rows(session: Session, request_id: str, kind: str, *, channel: str) -> Sequence[OutboxRow]:
    """Return the rows of that kind that are still to be sent for a request, oldest first."""
    found = select(OutboxRow).where(
        OutboxRow.request_id == request_id,
        OutboxRow.channel == channel,
        OutboxRow.kind == kind,
        OutboxRow.state == DUE,
    )
    return list(session.scalars(found.order_by(OutboxRow.id)))


def finish(session: Session, row_ids: Sequence[int], state: str, *, error: str | None = None) -> None:
    """Mark rows as ``sent`` or ``failed``; one that is finished already stays as it is."""
    session.execute(
        update(OutboxRow)
        .where(OutboxRow.id.in_(row_ids), OutboxRow.state == DUE)
        .values(state=state, last_error=error)
    )


def postpone(session: Session, row_ids: Sequence[int], *, until: datetime, error: str | None = None) -> None:
    """Let rows fall due at ``until``."""
    session.execute(
        update(OutboxRow)
        .where(OutboxRow.id.in_(row_ids), OutboxRow.state == DUE)
        .values(due_at=until, last_error=error)
    )


def uncount_attempt(session: Session, row_id: int) -> None:
    """Take back one attempt: nothing was tried."""
    session.execute(
        update(OutboxRow)
        .where(OutboxRow.id == row_id, OutboxRow.attempts > 0)
        .values(attempts=OutboxRow.attempts - 1)
    )


def hold(session: Session, *, channel: str, until: datetime) -> None:
    """Let nothing of a channel fall due before ``until``: the vendor asked to wait."""
    session.execute(
        update(OutboxRow)
        .where(OutboxRow.channel == channel, OutboxRow.state == DUE, OutboxRow.due_at < until)
        .values(due_at=until)
    )


def delivery_of(session: Session, request_id: str, *, channel: str) -> DeliveryRow | None:
    """Return the delivery of a request to a channel.

    Its ``message`` is empty while it is only reserved: a post may or may not have arrived.
    """
    found = select(DeliveryRow).where(DeliveryRow.request_id == request_id, DeliveryRow.channel == channel)
    return session.scalars(found.order_by(DeliveryRow.id).limit(1)).first()


def reserve(session: Session, request_id: str, *, channel: str, recipient: str, now: datetime) -> DeliveryRow:
    """Reserve the one delivery of a request to a recipient, before anything is posted."""
    row = DeliveryRow(
        request_id=request_id, channel=channel, recipient=recipient, message="", delivered_at=now
    )
    session.add(row)
    session.flush()
    return row


def release(session: Session, request_id: str, *, channel: str) -> None:
    """Give up a reservation, when it is certain that nothing was posted."""
    row = delivery_of(session, request_id, channel=channel)
    if row is not None and not row.message:
        session.delete(row)


def record(session: Session, request_id: str, message: str, *, channel: str, now: datetime) -> None:
    """Write down where the reserved message stands."""
    row = delivery_of(session, request_id, channel=channel)
    if row is not None and not row.message:
        row.message = message
        row.delivered_at = now
