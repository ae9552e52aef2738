"""Break-glass: open a gate alone in an emergency, and review such a use."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from airflow_approvals.api.auth import Caller, SignedIn, SignedInToChange, signed_in
from airflow_approvals.api.refusals import RefusedError
from airflow_approvals.api.requests import decided, require_may_answer
from airflow_approvals.api.schemas import BreakGlassOut, DecidedOut, ErrorOut
from airflow_approvals.control import break_glass
from airflow_approvals.core.models import Refusal
from airflow_approvals.identity import users
from airflow_approvals.store import break_glass as uses
from airflow_approvals.store.session import run_read
from airflow_approvals.store.tables import RequestRow

router = APIRouter(
    prefix="/api/v1",
    tags=["break-glass"],
    dependencies=[Depends(signed_in)],
    responses={code: {"model": ErrorOut} for code in (401, 403, 404, 409, 422)},
)


class BreakGlassIn(BaseModel):
    """Why a gate has to be opened now, by one person."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field(max_length=break_glass.MAX_TEXT)
    ticket: str = Field(max_length=break_glass.MAX_TICKET)


class ReviewIn(BaseModel):
    """What the reviewer found."""

    model_config = ConfigDict(extra="forbid")
    review: str = Field(max_length=break_glass.MAX_TEXT)


class BreakGlassPage(BaseModel):
    """Uses, unreviewed first."""

    uses: list[BreakGlassOut]


class ReviewedOut(BaseModel):
    """The use that has now been reviewed."""

    request: str
    reviewed_at: datetime


@router.get("/break-glass")
def list_uses(caller: SignedIn, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> BreakGlassPage:
    """List the uses at gates that the caller may see, unreviewed first."""
    return BreakGlassPage(uses=run_read(lambda session: _visible(session, caller, limit)))


@router.post("/requests/{request_id}/break-glass")
def open_gate(request_id: str, said: BreakGlassIn, caller: SignedInToChange) -> DecidedOut:
    """Open a pending gate alone. Needs a session on a page, unless the rule lets tokens decide."""
    require_may_answer(request_id, caller)
    emergency = break_glass.Emergency(caller.person, said.reason, said.ticket, caller.channel)
    return decided(break_glass.open_gate(request_id, emergency))


@router.post("/break-glass/{request_id}/review")
def review(request_id: str, said: ReviewIn, caller: SignedInToChange) -> ReviewedOut:
    """Review a use. Somebody else of the policy's reviewers does it, who did not shape the run."""
    require_may_answer(request_id, caller)
    outcome = break_glass.review(request_id, person=caller.person, text=said.review, channel=caller.channel)
    if isinstance(outcome, Refusal):
        raise RefusedError(outcome)
    return ReviewedOut(request=outcome.request_id, reviewed_at=outcome.reviewed_at)


def _visible(session: Session, caller: Caller, limit: int) -> list[BreakGlassOut]:
    found = []
    for use in uses.newest(session, limit):
        request = session.get(RequestRow, use.request_id)
        if request is not None and users.may_see(caller.user, request.dag_id):
            found.append(BreakGlassOut.of(use, request))
    return found
