"""Gates that were opened in an emergency, as they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from airflow_approvals.store.release_tables import BreakGlassRow


def unreviewed(session: Session) -> BreakGlassRow | None:
    """Return the oldest use that nobody has reviewed, wherever in the deployment it was."""
    found = select(BreakGlassRow).where(BreakGlassRow.reviewed_at.is_(None))
    return session.scalar(found.order_by(BreakGlassRow.used_at).limit(1))


def count_since(session: Session, since: datetime) -> int:
    """Return how many uses there were after that moment."""
    return session.scalar(select(func.count()).where(BreakGlassRow.used_at > since)) or 0


def newest(session: Session, limit: int) -> Sequence[BreakGlassRow]:
    """Return uses, unreviewed first, each part newest first."""
    order = (BreakGlassRow.reviewed_at.is_not(None), BreakGlassRow.used_at.desc())
    return list(session.scalars(select(BreakGlassRow).order_by(*order).limit(limit)))


def overdue(session: Session, now: datetime) -> Sequence[BreakGlassRow]:
    """Return the uses whose review is overdue, the longest first."""
    found = select(BreakGlassRow).where(
        BreakGlassRow.reviewed_at.is_(None), BreakGlassRow.review_due_at <= now
    )
    return list(session.scalars(found.order_by(BreakGlassRow.review_due_at)))
