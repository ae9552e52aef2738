"""The outbox and the deliveries: what is still to be said, and what stands where.

A row is claimed by moving its ``due_at`` into the future, comparing the one that was seen: when
the claimant dies, the row falls due again by itself.

When a vendor asks to wait, the rows of that lane say so and until when; that is all that is
remembered of it, so a new process and a row that is queued meanwhile wait as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, case, func, or_, select, update
from sqlalchemy.orm import Session

from airflow_approvals.store.tables import DeliveryRow, OutboxRow

DUE = "due"
SENT = "sent"
FAILED = "failed"
#: Fell due when there was nothing left to say.
DROPPED = "dropped"

#: The ``last_error`` of a row that waits because the vendor asked for it.
ASKED_TO_WAIT = "The vendor asked to wait."
#: A row that is being sent waits for no vendor: others would take its claim for the vendor's wish.
_WAITED_FOR = case((OutboxRow.last_error == ASKED_TO_WAIT, None), else_=OutboxRow.last_error)


@dataclass(frozen=True)
class Lane:
    """Rows that a vendor limits together, in one medium.

    :param kinds: only these kinds, when given.
    :param recipient: only those addressed to this account, when given.
    :param conversation: only those of requests whose message stands at this place, when given.
    :param with_unposted: also those of requests whose message stands nowhere yet.
    """

    channel: str
    kinds: frozenset[str] | None = None
    recipient: str | None = None
    conversation: str | None = None
    with_unposted: bool = False

    def open_rows(self) -> ColumnElement[bool]:
        """Return the condition on rows that are still to be sent in this lane."""
        found = [
            OutboxRow.channel == self.channel,
            OutboxRow.state == DUE,
        ]
        if self.kinds is not None:
            found.append(OutboxRow.kind.in_(self.kinds))
        if self.recipient is not None:
            found.append(OutboxRow.recipient == self.recipient)
        if self.conversation is not None:
            posted = select(DeliveryRow.request_id).where(DeliveryRow.channel == self.channel)
            here = OutboxRow.request_id.in_(posted.where(DeliveryRow.recipient == self.conversation))
            unposted = OutboxRow.request_id.not_in(posted)
            found.append(or_(here, unposted) if self.with_unposted else here)
        return and_(*found)


def add(
    session: Session,
    request_id: str,
    kind: str,
    *,
    channel: str,
    recipient: str = "",
    text: str = "",
    now: datetime,
    due: datetime | None = None,
) -> OutboxRow:
    """Queue a message, due at once or at ``due``."""
    row = OutboxRow(
        request_id=request_id,
        channel=channel,
        kind=kind,
        recipient=recipient,
        text=text,
        state=DUE,
        attempts=0,
        created_at=now,
        due_at=due or now,
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
        .values(due_at=until, attempts=OutboxRow.attempts + 1, last_error=_WAITED_FOR)
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


def has_any(session: Session, request_id: str, kinds: Sequence[str], *, channel: str) -> bool:
    """Whether a row of one of the kinds was ever queued for a request in a channel."""
    found = select(OutboxRow.id).where(
        OutboxRow.request_id == request_id, OutboxRow.channel == channel, OutboxRow.kind.in_(kinds)
    )
    return session.scalar(found.limit(1)) is not None


def finish(session: Session, row_ids: Sequence[int], state: str, *, error: str | None = None) -> None:
    """Mark rows as ``sent``, ``failed`` or ``dropped``; one that is finished already stays as it is."""
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


def hold(session: Session, lane: Lane, *, until: datetime) -> None:
    """Let nothing of a lane fall due before ``until``: the vendor asked to wait."""
    session.execute(
        update(OutboxRow)
        .where(lane.open_rows(), OutboxRow.due_at < until)
        .values(due_at=until, last_error=ASKED_TO_WAIT)
    )


def held_until(session: Session, lane: Lane, *, besides: int, now: datetime) -> datetime | None:
    """Return until when a lane waits, ``None`` when it does not.

    :param besides: the row that asks; it has been claimed, which says nothing about the lane.
    """
    waiting = select(func.max(OutboxRow.due_at)).where(
        lane.open_rows(),
        OutboxRow.last_error == ASKED_TO_WAIT,
        OutboxRow.due_at > now,
        OutboxRow.id != besides,
    )
    return session.scalar(waiting)


def ahead(session: Session, row: OutboxRow, *, at_once: str, planned: Sequence[str]) -> datetime | None:
    """Return when what comes before a row in its thread is tried next, ``None`` when nothing does.

    :param at_once: the kind of rows that are due when they are queued.
    :param planned: the kinds of rows that are queued long before; they come before others only
        once they were tried.
    """
    earlier = select(func.max(OutboxRow.due_at)).where(
        OutboxRow.request_id == row.request_id,
        OutboxRow.channel == row.channel,
        OutboxRow.state == DUE,
        OutboxRow.id < row.id,
        or_(OutboxRow.kind == at_once, and_(OutboxRow.kind.in_(planned), OutboxRow.attempts > 0)),
    )
    return session.scalar(earlier)


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
