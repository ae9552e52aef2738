"""Requests: list, read, vote, withdraw."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from airflow_approvals.api.auth import Caller, SignedIn, SignedInToChange, signed_in
from airflow_approvals.api.refusals import RefusedError
from airflow_approvals.api.schemas import (
    DecidedOut,
    ErrorOut,
    RequestDetailOut,
    RequestOut,
    RequestPage,
    VoteIn,
)
from airflow_approvals.control import deliveries, last_approval
from airflow_approvals.control.decisions import Decided, decide, enter_not_permitted, take_back, withdraw
from airflow_approvals.control.requesters import Requesters, requesters_of
from airflow_approvals.core.models import Place, Refusal, RequestState, Verdict
from airflow_approvals.identity import users
from airflow_approvals.store.release_tables import BreakGlassRow
from airflow_approvals.store.session import run_read
from airflow_approvals.store.tables import GrantRow, RequestRow, VoteRow

UNKNOWN = Refusal("unknown_request", "There is no such request.", 404)

router = APIRouter(
    prefix="/api/v1/requests",
    tags=["requests"],
    dependencies=[Depends(signed_in)],
    responses={code: {"model": ErrorOut} for code in (401, 403, 404, 409, 422)},
)


@router.get("")
def list_requests(
    caller: SignedIn,
    state: RequestState | None = None,
    dag_id: str | None = None,
    run_id: str | None = None,
    sink: str | None = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> RequestPage:
    """List the requests the caller may see, newest first.

    ``after`` is the id of the last request of the page before.
    """
    wanted = {"state": state, "dag_id": dag_id, "run_id": run_id, "sink": sink}
    rows = run_read(lambda session: _page(session, caller, wanted, after, limit + 1))
    page = rows[:limit]
    return RequestPage(requests=page, next=page[-1].id if len(rows) > limit else None)


@router.get("/{request_id}")
def read_request(request_id: str, caller: SignedIn) -> RequestDetailOut:
    """Read one request with its votes, its requester set and its grant."""
    return run_read(lambda session: _read(session, caller, request_id))


@router.post("/{request_id}/votes")
def vote(request_id: str, ballot: VoteIn, caller: SignedInToChange) -> DecidedOut:
    """Cast the caller's vote. The policy says whether this channel may decide."""
    require_may_answer(request_id, caller)
    outcome = decide(
        request_id,
        person=caller.person,
        verdict=Verdict(ballot.verdict),
        reason=ballot.reason,
        channel=caller.channel,
        wish=ballot.wish,
    )
    return decided(outcome)


@router.delete("/{request_id}/votes")
def take_back_vote(request_id: str, caller: SignedInToChange) -> DecidedOut:
    """Take back the caller's own vote while the request is pending."""
    require_may_answer(request_id, caller)
    return decided(take_back(request_id, person=caller.person, channel=caller.channel))


@router.post("/{request_id}/withdraw")
def withdraw_request(request_id: str, caller: SignedInToChange) -> DecidedOut:
    """Close a pending request without a decision; the gate stays shut."""
    require_may_answer(request_id, caller)
    return decided(withdraw(request_id, person=caller.person, channel=caller.channel))


def decided(outcome: Decided | Refusal) -> DecidedOut:
    """Return the answer to a decision; :raises RefusedError: when it was refused."""
    if isinstance(outcome, Refusal):
        raise RefusedError(outcome)
    return DecidedOut(request=outcome.request_id, state=outcome.state, sentence=outcome.sentence)


def require_may_answer(request_id: str, caller: Caller) -> None:
    """Check that Airflow lets the caller answer this gate, and enter the attempt where it does not.

    :raises RefusedError: then, and for a request that the caller cannot see.
    """
    place = run_read(lambda session: _place_of(session, request_id))
    if place is None or not users.may_see(caller.user, place.dag_id):
        raise RefusedError(UNKNOWN)
    if not users.may_answer(caller.user, place.dag_id):
        enter_not_permitted(
            place, request_id, person=caller.person, channel=caller.channel, now=datetime.now(UTC)
        )
        raise RefusedError(
            Refusal("not_permitted", "Airflow does not let you answer gates of this DAG.", 403)
        )


def _place_of(session: Session, request_id: str) -> Place | None:
    row = session.get(RequestRow, request_id)
    return row.place if row is not None else None


def _page(
    session: Session, caller: Caller, wanted: dict[str, str | None], after: str | None, limit: int
) -> list[RequestOut]:
    query = select(RequestRow).order_by(RequestRow.created_at.desc(), RequestRow.id.desc()).limit(limit)
    query = query.where(RequestRow.dag_id.in_(visible_dags(session, caller)))
    for name, value in wanted.items():
        if value is not None:
            query = query.where(getattr(RequestRow, name) == value)
    last = session.get(RequestRow, after) if after else None
    if last is not None:
        older = and_(RequestRow.created_at == last.created_at, RequestRow.id < last.id)
        query = query.where(or_(RequestRow.created_at < last.created_at, older))
    return [RequestOut.of(row) for row in session.scalars(query)]


def visible_dags(session: Session, caller: Caller) -> list[str]:
    """Return the DAGs with requests whose gates Airflow lets the caller see."""
    dag_ids = session.scalars(select(RequestRow.dag_id).distinct())
    return [dag_id for dag_id in dag_ids if users.may_see(caller.user, dag_id)]


def _read(session: Session, caller: Caller, request_id: str) -> RequestDetailOut:
    row = session.get(RequestRow, request_id)
    if row is None or not users.may_see(caller.user, row.dag_id):
        raise RefusedError(UNKNOWN)
    votes = session.scalars(select(VoteRow).where(VoteRow.request_id == request_id).order_by(VoteRow.id))
    grant = session.scalar(select(GrantRow).where(GrantRow.request_id == request_id))
    requesters = Requesters.from_text(row.requesters)
    if row.state == RequestState.PENDING:
        requesters = requesters.union(requesters_of(session, row.place))
    use = session.get(BreakGlassRow, request_id)
    told = deliveries.of_request(session, request_id)
    since = last_approval.changes_since(session, row)
    return RequestDetailOut.whole(row, requesters, list(votes), grant, use, told, since)
