"""Hooks on Airflow's Execution API, attached to its routes before the app is built.

1. A hook answers a JSON 4xx or nothing. A 5xx on ``/run`` would end the scheduler, so every
   fault inside a hook becomes a refusal: fail closed, and never loud.
2. Cadwyn solves dependencies twice; a hook acts only in the pass named ``fastapi``.
3. Database work runs in a worker thread: the hooks themselves are on the event loop.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from airflow.api_fastapi.execution_api.datamodels.token import TIToken
from airflow.api_fastapi.execution_api.security import require_auth
from anyio import to_thread
from cadwyn import current_dependency_solver
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.routing import APIRoute
from sqlalchemy.orm import Session

from airflow_approvals.control import airflow_seams, grants, intake, rings
from airflow_approvals.core.models import GrantState, Refusal
from airflow_approvals.store.session import run_transaction

log = logging.getLogger(__name__)

Token = Annotated[TIToken, Depends(require_auth)]
Solver = Annotated[str, Depends(current_dependency_solver)]


async def intake_hook(
    task_instance_id: str,
    request: Request,
    token: Token,
    solver: Solver,
) -> None:
    """``POST /hitlDetails/{id}``: take down what a gate asks for."""
    if solver == "fastapi":
        body = _json_object(await request.body())
        await _guard(409, lambda session: _take_down(session, str(token.id), body))


async def own_answer_hook(
    task_instance_id: str,
    token: Token,
    solver: Solver,
) -> None:
    """``PATCH /hitlDetails/{id}``: a gate never answers itself."""
    if solver == "fastapi":
        await _guard(409, lambda session: _own_answer(session, str(token.id)))


async def start_hook(
    task_instance_id: str,
    token: Token,
    solver: Solver,
) -> None:
    """``PATCH /task-instances/{id}/run``: the start ring."""
    if solver == "fastapi":
        await _guard(409, lambda session: rings.check_start(session, str(token.id), now=datetime.now(UTC)))


async def connection_hook(
    connection_id: str,
    token: Token,
    solver: Solver,
) -> None:
    """``GET /connections/{id}``: the credential ring."""
    if solver == "fastapi":
        now = datetime.now(UTC)
        await _guard(
            403, lambda session: rings.check_connection(session, str(token.id), connection_id, now=now)
        )


async def state_hook(
    task_instance_id: str,
    token: Token,
    solver: Solver,
) -> AsyncIterator[None]:
    """``PATCH /task-instances/{id}/state``: look, once core is done, whether a grant is spent.

    Core validates and commits after this hook was entered and may still refuse or fail, so
    only what stands in the database afterwards counts.
    """
    yield
    if solver == "fastapi":
        try:
            await to_thread.run_sync(lambda: run_transaction(lambda s: _after_state(s, str(token.id))))
        except Exception:
            # The dispatcher looks again within its next round.
            log.exception("approvals: could not look for spent grants")


#: (method, end of the path) -> the hook on it.
HOOKS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("POST", "/hitlDetails/{task_instance_id}"): intake_hook,
    ("PATCH", "/hitlDetails/{task_instance_id}"): own_answer_hook,
    ("PATCH", "/task-instances/{task_instance_id}/run"): start_hook,
    ("PATCH", "/task-instances/{task_instance_id}/state"): state_hook,
    ("GET", "/connections/{connection_id}"): connection_hook,
}


def attach(router: APIRouter) -> None:
    """Append each hook to its route, once; Airflow builds its versioned app from these lists.

    :raises RuntimeError: when a route is not there, so that the start-up check can say so.
    """
    for (method, suffix), hook in HOOKS.items():
        route = _route(router, method, suffix)
        if not any(getattr(item, "dependency", None) is hook for item in route.dependencies):
            route.dependencies.append(Depends(hook))


def missing_hooks() -> list[str]:
    """Return the hooked routes that lack their hook; empty when all stand."""
    from airflow.api_fastapi.execution_api.routes import execution_api_router

    missing = []
    for (method, suffix), hook in HOOKS.items():
        try:
            route = _route(execution_api_router, method, suffix)
        except RuntimeError:
            missing.append(f"{method} {suffix}")
            continue
        if not any(getattr(item, "dependency", None) is hook for item in route.dependencies):
            missing.append(f"{method} {suffix}")
    return missing


def _route(router: APIRouter, method: str, suffix: str) -> APIRoute:
    for route in router.routes:
        if isinstance(route, APIRoute) and route.path.endswith(suffix) and method in route.methods:
            return route
    raise RuntimeError(f"Airflow's Execution API has no route {method} {suffix}")


async def _guard(status: int, check: Callable[[Session], Refusal | None]) -> None:
    try:
        refusal = await to_thread.run_sync(lambda: run_transaction(check))
    except Exception:
        log.exception("approvals: a hook failed and refuses")
        detail = {"reason": "approvals_fault", "message": "The approvals server could not judge this call."}
        raise HTTPException(status, detail) from None
    if refusal is not None:
        raise HTTPException(
            refusal.status, {"reason": f"approvals_{refusal.code}", "message": refusal.sentence}
        )


def _take_down(session: Session, ti_id: str, body: Mapping[str, Any]) -> Refusal | None:
    ti = airflow_seams.task_instance(session, ti_id)
    if ti is None or not intake.is_gate_task(session, ti):
        return None
    row = intake.take_down(session, ti, body, now=datetime.now(UTC))
    if row.state == "invalid":
        return Refusal("invalid_ask", "The gate's request breaks its schema.", 422)
    return None


def _own_answer(session: Session, ti_id: str) -> Refusal | None:
    ti = airflow_seams.task_instance(session, ti_id)
    if ti is None or not (intake.is_gate_task(session, ti) or intake.place_has_intake(session, ti_id)):
        return None
    from airflow_approvals.store import ledger

    ledger.append(session, "foreign_answer_refused", at=datetime.now(UTC), place=airflow_seams.place_of(ti))
    return Refusal("own_answer", "A gate is answered by people, through the approvals server.", 409)


def _after_state(session: Session, ti_id: str) -> None:
    ti = airflow_seams.task_instance(session, ti_id)
    if ti is None or ti.state not in airflow_seams.DONE:
        return
    now = datetime.now(UTC)
    for grant in grants.bound_in_run(session, ti.dag_id, ti.run_id):
        if grant.state == GrantState.BOUND and grants.is_bound_to(session, grant, ti):
            grants.refresh(session, grant, None, ti, now=now)


def _json_object(body: bytes) -> Mapping[str, Any]:
    """Return the body as an object; what is not one is core's to refuse, and carries no ask."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
