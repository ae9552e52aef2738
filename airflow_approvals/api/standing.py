"""Standing approvals: list them, end one."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.api.auth import Caller, SignedIn, SignedInToChange, signed_in
from airflow_approvals.api.refusals import RefusedError
from airflow_approvals.api.requests import require_may_answer, visible_dags
from airflow_approvals.api.schemas import ErrorOut, StandingOut
from airflow_approvals.control import judging, standing
from airflow_approvals.core.models import Refusal
from airflow_approvals.errors import ConfigurationError
from airflow_approvals.store.release_tables import StandingRow
from airflow_approvals.store.session import run_read

router = APIRouter(
    prefix="/api/v1/standing",
    tags=["standing"],
    dependencies=[Depends(signed_in)],
    responses={code: {"model": ErrorOut} for code in (401, 403, 404, 409)},
)
MOST_LISTED = 500


@router.get("")
def list_standing(caller: SignedIn, state: str = standing.LIVE) -> list[StandingOut]:
    """List the standing approvals the caller may see, newest first, at most 500."""
    return run_read(lambda session: _listed(session, caller, state))


@router.delete("/{standing_id}")
def end_standing(standing_id: str, caller: SignedInToChange) -> StandingOut:
    """End a standing approval; anybody who may decide such requests may."""
    request_id = run_read(lambda session: _request_of(session, standing_id))
    if request_id is None:
        raise RefusedError(Refusal("unknown_standing", "There is no such standing approval.", 404))
    require_may_answer(request_id, caller)
    if (refusal := _end(standing_id, caller)) is not None:
        raise RefusedError(refusal)
    return run_read(lambda session: StandingOut.of(session.get_one(StandingRow, standing_id)))


def _end(standing_id: str, caller: Caller) -> Refusal | None:
    try:
        return judging.with_membership(
            lambda session, members: standing.end(session, standing_id, caller.person, members)
        )
    except ConfigurationError as error:
        return Refusal("not_configured", str(error), 409)


def _request_of(session: Session, standing_id: str) -> str | None:
    return session.scalar(select(StandingRow.request_id).where(StandingRow.id == standing_id))


def _listed(session: Session, caller: Caller, state: str) -> list[StandingOut]:
    found = (
        select(StandingRow)
        .where(StandingRow.state == state, StandingRow.dag_id.in_(visible_dags(session, caller)))
        .order_by(StandingRow.created_at.desc(), StandingRow.id)
        .limit(MOST_LISTED)
    )
    return [StandingOut.of(row) for row in session.scalars(found)]
