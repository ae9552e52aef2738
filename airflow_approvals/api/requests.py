"""Requests: list, read, vote, withdraw."""

from __future__ import annotations

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
from airflow_approvals.control import identity
from airflow_approvals.control.decisions import Decided, decide, withdraw
from airflow_approvals.control.requesters import Requesters, requesters_of
from airflow_approvals.core.models import Refusal, RequestState, Verdict
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
    _require_may_answer(request_id, caller)
    outcome = decide(
        request_id,
        person=caller.person,
        verdict=Verdict(ballot.verdict),
        reason=ballot.reason,
        channel=caller.channel,
    )
    return _decided(outcome)


@router.post("/{request_id}/withdraw")
def withdraw_request(request_id: str, caller: SignedInToChange) -> DecidedOut:
    """Close a pending request without a decision; the gate stays shut."""
    _require_may_answer(request_id, caller)
    return _decided(withdraw(request_id, person=caller.person, channel=caller.channel))


def _decided(outcome: Decided | Refusal) -> DecidedOut:
    if isinstance(outcome, Refusal):
        raise RefusedError(outcome)
    return DecidedOut(request=outcome.request_id, state=outcome.state, sentence=outcome.sentence)


def _require_may_answer(request_id: str, caller: Caller) -> None:
    dag_id = run_read(lambda session: _dag_of(session, request_id))
    if dag_id is None or not identity.may_see(caller.user, dag_id):
        raise RefusedError(UNKNOWN)
    if not identity.may_answer(caller.user, dag_id):
        raise RefusedError(
            Refusal("not_permitted", "Airflow does not let you answer gates of this DAG.", 403)
        )


def _dag_of(session: Session, request_id: str) -> str | None:
    return session.scalar(select(RequestRow.dag_id).where(RequestRow.id == request_id))


def _page(
    session: Session, caller: Caller, wanted: dict[str, str | None], after: str | None, limit: int
) -> list[RequestOut]:
    query = select(RequestRow).order_by(RequestRow.created_at.desc(), RequestRow.id.desc()).limit(limit)
    query = query.where(RequestRow.dag_id.in_(_visible_dags(session, caller)))
    for name, value in wanted.items():
        if value is not None:
            query = query.where(getattr(RequestRow, name) == value)
    last = session.get(RequestRow, after) if after else None
    if last is not None:
        older = and_(RequestRow.created_at == last.created_at, RequestRow.id < last.id)
        query = query.where(or_(RequestRow.created_at < last.created_at, older))
    return [RequestOut.of(row) for row in session.scalars(query)]


def _visible_dags(session: Session, caller: Caller) -> list[str]:
    dag_ids = session.scalars(select(RequestRow.dag_id).distinct())
    return [dag_id for dag_id in dag_ids if identity.may_see(caller.user, dag_id)]


def _read(session: Session, caller: Caller, request_id: str) -> RequestDetailOut:
    row = session.get(RequestRow, request_id)
    if row is None or not identity.may_see(caller.user, row.dag_id):
        raise RefusedError(UNKNOWN)
    votes = session.scalars(select(VoteRow).where(VoteRow.request_id == request_id).order_by(VoteRow.id))
    grant = session.scalar(select(GrantRow).where(GrantRow.request_id == request_id))
    requesters = Requesters.from_text(row.requesters)
    if row.state == RequestState.PENDING:
        requesters = requesters.union(requesters_of(session, row.place))
    return RequestDetailOut.whole(row, requesters, list(votes), grant)
