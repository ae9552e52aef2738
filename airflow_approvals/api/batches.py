"""One decision for an explicit list of requests, each named with the digests that were shown.

Every request is decided by itself, in a transaction of its own and by every rule that holds for a
single vote; the answer tells for each what became of it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from airflow_approvals.api.auth import Caller, SignedIn, SignedInToChange, signed_in
from airflow_approvals.api.refusals import RefusedError
from airflow_approvals.api.requests import UNKNOWN, require_may_answer
from airflow_approvals.api.schemas import ErrorOut, RequestOut
from airflow_approvals.control import faults
from airflow_approvals.control.decisions import decide
from airflow_approvals.core.models import Refusal, RequestState, Verdict
from airflow_approvals.errors import ApprovalsError
from airflow_approvals.identity import users
from airflow_approvals.seams import airflow_seams_runs
from airflow_approvals.store.session import run_read
from airflow_approvals.store.tables import RequestRow

MOST_AT_ONCE = 100
UNAVAILABLE = "The database could not be asked; look at the request, and vote again if it is pending."

router = APIRouter(
    prefix="/api/v1/decisions",
    tags=["decisions"],
    dependencies=[Depends(signed_in)],
    responses={code: {"model": ErrorOut} for code in (401, 403, 404, 422)},
)


class ShownIn(BaseModel):
    """A request as the voter saw it."""

    model_config = ConfigDict(extra="forbid")
    id: str = Field(max_length=100)
    manifest_digest: str = Field(max_length=100)
    ask_digest: str = Field(max_length=100)


class BatchIn(BaseModel):
    """One verdict for a list of requests, at most 100 and each once."""

    model_config = ConfigDict(extra="forbid")
    verdict: Literal["approve", "reject"]
    reason: str = Field(default="", max_length=2000)
    requests: list[ShownIn] = Field(min_length=1, max_length=MOST_AT_ONCE)

    @field_validator("requests")
    @classmethod
    def _each_once(cls, requests: list[ShownIn]) -> list[ShownIn]:
        if len({shown.id for shown in requests}) < len(requests):
            raise ValueError("a request stands here twice")
        return requests


class ResultOut(BaseModel):
    """What became of one: its ``state`` after the vote, or the ``code`` of a refusal."""

    request: str
    state: str | None = None
    code: str | None = None
    sentence: str


@router.get("")
def list_to_decide(
    caller: SignedIn,
    dag_id: str,
    run_id: str | None = None,
    backfill_id: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    task_id: str | None = None,
) -> list[RequestOut]:
    """List what is pending of a run (its mapped gates) or a backfill, oldest first, at most 100."""
    if (run_id is None) == (backfill_id is None):
        raise RefusedError(Refusal("invalid", "Name a run_id or a backfill_id, one of the two.", 422))
    if not users.may_see(caller.user, dag_id):
        raise RefusedError(UNKNOWN)
    return run_read(lambda session: _pending(session, dag_id, run_id, backfill_id, task_id))


@router.post("")
def decide_each(batch: BatchIn, caller: SignedInToChange) -> list[ResultOut]:
    """Cast the caller's vote on each request whose digests are the ones named."""
    return [_one(shown, batch, caller) for shown in batch.requests]


def _one(shown: ShownIn, batch: BatchIn, caller: Caller) -> ResultOut:
    try:
        require_may_answer(shown.id, caller)
        # A request's digests never change, so they need no lock.
        if run_read(lambda session: _digests(session, shown.id)) != (shown.manifest_digest, shown.ask_digest):
            sentence = "The digests are not those of this request; look at it again."
            return ResultOut(request=shown.id, code="digest_mismatch", sentence=sentence)
        verdict = Verdict(batch.verdict)
        outcome = decide(
            shown.id, person=caller.person, verdict=verdict, reason=batch.reason, channel=caller.channel
        )
    except RefusedError as refused:
        outcome = refused.refusal
    except ApprovalsError as error:
        return ResultOut(request=shown.id, code=error.code, sentence=str(error))
    except DBAPIError as error:
        # Others of the list may be decided by now, which the caller has to learn.
        faults.report("decide one of a list", error)
        return ResultOut(request=shown.id, code="unavailable", sentence=UNAVAILABLE)
    if isinstance(outcome, Refusal):
        return ResultOut(request=shown.id, code=outcome.code, sentence=outcome.sentence)
    return ResultOut(request=shown.id, state=outcome.state, sentence=outcome.sentence)


def _digests(session: Session, request_id: str) -> tuple[str, str]:
    row = session.get_one(RequestRow, request_id)
    return row.manifest_digest, row.ask_digest


def _pending(
    session: Session, dag_id: str, run_id: str | None, backfill_id: int | None, task_id: str | None
) -> list[RequestOut]:
    found = select(RequestRow).where(RequestRow.dag_id == dag_id, RequestRow.state == RequestState.PENDING)
    if run_id is not None:
        found = found.where(RequestRow.run_id == run_id)
    if backfill_id is not None:
        found = found.where(RequestRow.run_id.in_(airflow_seams_runs.runs_of_backfill(dag_id, backfill_id)))
    if task_id is not None:
        found = found.where(RequestRow.task_id == task_id)
    oldest = found.order_by(RequestRow.created_at, RequestRow.id).limit(MOST_AT_ONCE)
    return [RequestOut.of(row) for row in session.scalars(oldest)]
