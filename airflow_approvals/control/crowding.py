"""So many requests of one DAG may wait for people at once, and twice as many come within an hour.

Whoever is asked again and again answers yes in the end, so a DAG that floods is refused rather than
asked about. Counted is without a lock: requests that are registered at the same instant may all fit.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from airflow_approvals.config.settings import Settings
from airflow_approvals.control import settlement
from airflow_approvals.core.models import RequestState
from airflow_approvals.seams import airflow_seams
from airflow_approvals.store.tables import RequestRow

_MARK = "[approvals] max_pending_per_dag"
_TOO_MANY = (
    "{most} requests of DAG {dag} already wait for a decision, which is as many as " + _MARK + " "
    "allows, so nobody is asked about another one. Once some of them are decided "
    "or withdrawn, clear the gate to ask again."
)
_TOO_OFTEN = (
    "People were asked about {most} requests of DAG {dag} within an hour, twice as many as " + _MARK + " "
    "allows at once, so nobody is asked about another one. Clear the gate later to ask again."
)
_HOUR = timedelta(hours=1)
#: A request that waits for the custodian alone asks nobody. Its bar is pinned as JSON text.
_ASKS_PEOPLE = RequestRow.pinned.not_like('%"effect": "permit"%')


def turned_away(
    session: Session, parked: airflow_seams.Parked, request: RequestRow, *, now: datetime
) -> bool:
    """Forbid a request that people would be asked about, when too many of its DAG wait or came of late.

    :returns: whether it was; its gate goes on, shut, and a note on it says why.
    """
    most = Settings.load().max_pending_per_dag
    if _count(session, request, most, _waits(request)) >= most:
        because = _TOO_MANY.format(most=most, dag=request.dag_id)
    elif _count(session, request, 2 * most, *_asked_since(now - _HOUR)) >= 2 * most:
        because = _TOO_OFTEN.format(most=2 * most, dag=request.dag_id)
    else:
        return False
    # Told to nobody: a flood must not become one of messages either.
    settlement.settle(session, parked, request, RequestState.FORBIDDEN, because, told=False, now=now)
    airflow_seams.explain(session, parked.ti, because)
    return True


def was_turned_away(request: RequestRow) -> bool:
    """Whether a request was forbidden for no other reason: when its gate is retried, there may be room."""
    return request.state == RequestState.FORBIDDEN and _MARK in (request.decided_because or "")


def _waits(request: RequestRow) -> ColumnElement[bool]:
    """Which of the DAG's other gates wait.

    One of the same gate is of a try that is over, and about to be closed.
    """
    here = (RequestRow.run_id, RequestRow.task_id, RequestRow.map_index)
    place = (request.run_id, request.task_id, request.map_index)
    elsewhere = or_(*(column != value for column, value in zip(here, place, strict=True)))
    return (RequestRow.state == RequestState.PENDING) & elsewhere & _ASKS_PEOPLE


def _asked_since(then: datetime) -> tuple[ColumnElement[bool], ...]:
    """Which requests people were asked about since: what needs no person is settled as it is registered."""
    asked = or_(RequestRow.decided_at.is_(None), RequestRow.decided_at > RequestRow.created_at)
    return (RequestRow.created_at > then, asked, _ASKS_PEOPLE)


def _count(session: Session, request: RequestRow, most: int, *which: ColumnElement[bool]) -> int:
    """Count other requests of the DAG, up to ``most``."""
    found = select(RequestRow.id).where(
        RequestRow.dag_id == request.dag_id, RequestRow.id != request.id, *which
    )
    return len(session.scalars(found.limit(most)).all())
