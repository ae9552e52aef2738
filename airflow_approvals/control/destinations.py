"""Whether a sink's Connection is the one that people last approved a request for.

An administrator may edit a Connection before a gate asks: then the edited one is pinned, and the
fingerprint holds. So approvers are told that it is another one than last time.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control.pins import Pins
from airflow_approvals.core.models import RequestState, Verdict
from airflow_approvals.store.tables import RequestRow, VoteRow

#: What was approved longer ago says nothing of what people know the destination by.
LOOK_BACK = timedelta(days=400)
_RECENT = 20


def has_changed(session: Session, sink: str, fingerprint: str, *, now: datetime) -> bool:
    """Whether the fingerprint is another one than at the last approval by people for that sink.

    What no person voted for (permitted by rule, opened in an emergency, rehearsed) nobody looked at.
    """
    voted = select(VoteRow.request_id).where(VoteRow.verdict == Verdict.APPROVE)
    approved = select(RequestRow).where(
        RequestRow.state == RequestState.APPROVED,
        RequestRow.expires_at >= now - LOOK_BACK,
        RequestRow.sink == sink,
        RequestRow.id.in_(voted),
    )
    # Along the index on state and expiry, so that the whole history is not sorted for it.
    recent = session.scalars(approved.order_by(RequestRow.expires_at.desc()).limit(_RECENT)).all()
    seen = [(row.decided_at or row.created_at, Pins.from_text(row.pinned)) for row in recent]
    looked_at = [(at, pins.fingerprint) for at, pins in seen if not pins.dev_mode]
    return bool(looked_at) and max(looked_at)[1] != fingerprint
