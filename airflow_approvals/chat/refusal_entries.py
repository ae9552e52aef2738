"""The ledger entry of an act in a chat that was refused."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from airflow_approvals.control.outbox import Append
from airflow_approvals.core.models import Channel, Refusal
from airflow_approvals.store.tables import RequestRow


def enter(
    append: Append,
    session: Session,
    request_id: str,
    refusal: Refusal,
    *,
    actor: str,
    channel: Channel,
    now: datetime,
    **details: str,
) -> None:
    """Append ``vote_refused``; an act may name a request that does not exist.

    Called last in its transaction, because it locks the head of the ledger until that ends.
    """
    request = session.get(RequestRow, request_id)
    append(
        session,
        "vote_refused",
        at=now,
        actor=actor,
        channel=channel,
        request_id=request.id if request else None,
        place=request.place if request else None,
        details={"code": refusal.code, **details},
    )
