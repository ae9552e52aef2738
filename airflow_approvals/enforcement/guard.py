"""What every hook on the Execution API does: judge off the event loop, and answer 4xx or nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

from airflow.api_fastapi.execution_api.datamodels.token import TIToken
from airflow.api_fastapi.execution_api.security import require_auth
from anyio import to_thread
from cadwyn import current_dependency_solver
from fastapi import Depends, HTTPException
from sqlalchemy.orm import Session

from airflow_approvals.control import faults, judging
from airflow_approvals.core.models import Refusal
from airflow_approvals.store.session import run_read, run_transaction

Token = Annotated[TIToken, Depends(require_auth)]
Solver = Annotated[str, Depends(current_dependency_solver)]


async def guard(
    status: int,
    concerns: Callable[[Session], bool],
    check: Callable[..., Refusal | None],
    *lookups: Callable[[], object],
) -> None:
    """Judge a call that concerns a gate, in a transaction; most calls do not, and only read.

    :param lookups: what ``check`` needs besides, each looked up while no transaction is open: one
        that asked for a second database connection under locks could starve the pool.
    """

    def judge() -> Refusal | None:
        if not run_read(concerns):
            return None
        found = [look() for look in lookups]
        return run_transaction(lambda session: check(session, *found))

    try:
        refusal = await to_thread.run_sync(partial(judging.while_current, judge))
    except Exception as error:
        faults.report("judge a call of the Execution API, so it is refused", error)
        detail = {"reason": "approvals_fault", "message": "The approvals server could not judge this call."}
        raise HTTPException(status, detail) from None
    if refusal is not None:
        raise http_refusal(refusal)


def http_refusal(refusal: Refusal) -> HTTPException:
    """Return what tells a task why it may not."""
    detail = {"reason": f"approvals_{refusal.code}", "message": refusal.sentence}
    return HTTPException(refusal.status, detail)
