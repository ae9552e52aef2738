"""The inbox: signed callbacks, kept before they are acknowledged, worked on once each.

A row goes ``new`` → ``taken-1`` → ``done``. A process that dies at work leaves ``taken-N``; the
row can be taken again ``N`` minutes after it came in, as ``taken-N+1``. Every step compares the
state it starts from, so two processes never work on the same attempt. The last attempt can be
repeated: all that is left to do then is to give up, see :data:`GIVE_UP_AFTER`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from airflow_approvals.store.tables import InboxRow

NEW = "new"
DONE = "done"
MAX_ATTEMPTS = 10
#: How long one attempt may take before another process may assume that it died.
ATTEMPT = timedelta(minutes=1)
#: From this age on a callback is only closed, never acted on: its moment has passed.
GIVE_UP_AFTER = ATTEMPT * MAX_ATTEMPTS

_TAKEN = tuple(f"taken-{n}" for n in range(1, MAX_ATTEMPTS + 1))
_OPEN = (NEW, *_TAKEN)
FIRST_ATTEMPT = _TAKEN[0]


def keep(
    session: Session, callback_id: str, *, channel: str, payload: str, now: datetime, at_work: bool = False
) -> bool:
    """Keep a callback; return whether it is new. A replay has the same id and changes nothing.

    Two replays at the same instant meet at the primary key, and one of them is told so.

    :param at_work: whether it starts as :data:`FIRST_ATTEMPT`, because the keeper works on it at once.
    """
    state = FIRST_ATTEMPT if at_work else NEW
    # One statement: somebody waits for the acknowledgement, often many at once.
    kept = session.execute(
        _insert(session)
        .values(id=callback_id, channel=channel, payload=payload, state=state, received_at=now)
        .on_conflict_do_nothing(index_elements=[InboxRow.id])
        .returning(InboxRow.id)
    )
    return kept.first() is not None


def _insert(session: Session) -> postgresql.Insert | sqlite.Insert:
    """Return an insert that can say what to do on a conflict: each database has one of its own."""
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(InboxRow)
    return sqlite.insert(InboxRow)


def waiting(session: Session, *, channel: str, now: datetime, limit: int) -> Sequence[str]:
    """Return the ids of callbacks that can be taken, oldest first."""
    rows = session.execute(
        select(InboxRow.id, InboxRow.state, InboxRow.received_at)
        .where(InboxRow.channel == channel, InboxRow.state.in_(_OPEN))
        .order_by(InboxRow.received_at, InboxRow.id)
        .limit(limit)
    )
    return [row.id for row in rows if _is_free(row.state, row.received_at, now)]


def take(session: Session, callback_id: str, *, now: datetime) -> InboxRow | None:
    """Take a callback to work on it, or return ``None`` when another process was first."""
    row = session.get(InboxRow, callback_id)
    if row is None or not _is_free(row.state, row.received_at, now):
        return None
    following = _OPEN[min(_OPEN.index(row.state) + 1, MAX_ATTEMPTS)]
    return row if move(session, callback_id, row.state, following) else None


def move(session: Session, callback_id: str, before: str, after: str) -> bool:
    """Change the state from ``before`` to ``after``; return whether it was ``before``."""
    changed = session.execute(
        update(InboxRow)
        .where(InboxRow.id == callback_id, InboxRow.state == before)
        .values(state=after)
        .returning(InboxRow.id)
    )
    return changed.first() is not None


def _is_free(state: str, received_at: datetime, now: datetime) -> bool:
    """Whether nobody can be at work on it."""
    return state in _OPEN and now >= received_at + ATTEMPT * _OPEN.index(state)
