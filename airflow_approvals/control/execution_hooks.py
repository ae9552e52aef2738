"""Hooks on Airflow's Execution API, attached to its routes before the app is built.

1. A hook answers a JSON 4xx or nothing. A 5xx on ``/run`` would end the scheduler, so every
   fault inside a hook becomes a refusal: fail closed, and never loud.
2. Cadwyn solves dependencies twice; a hook acts only in the pass named ``fastapi``.
3. Database work runs in a worker thread: the hooks themselves are on the event loop.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from airflow.api_fastapi.execution_api.datamodels.token import TIToken
from airflow.api_fastapi.execution_api.security import require_auth
from anyio import to_thread
from cadwyn import current_dependency_solver
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.routing import APIRoute
from sqlalchemy.orm import Session

from airflow_approvals.control import airflow_seams, faults, grants, intake, overrides, rings
from airflow_approvals.core.models import Place, Refusal
from airflow_approvals.store import ledger
from airflow_approvals.store.session import run_read, run_transaction

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
        ti_id = str(token.id)
        await _guard(409, partial(_is_gate, ti_id=ti_id), partial(_take_down, ti_id=ti_id, body=body))


async def own_answer_hook(
    task_instance_id: str,
    token: Token,
    solver: Solver,
) -> None:
    """``PATCH /hitlDetails/{id}``: a gate never answers itself."""
    if solver == "fastapi":
        ti_id = str(token.id)
        await _guard(409, partial(_has_asked, ti_id=ti_id), partial(_own_answer, ti_id=ti_id))


async def start_hook(
    task_instance_id: str,
    token: Token,
    solver: Solver,
) -> None:
    """``PATCH /task-instances/{id}/run``: the start ring."""
    if solver == "fastapi":
        ti_id, now = str(token.id), datetime.now(UTC)
        concerns = partial(rings.is_behind_a_gate, ti_id=ti_id)
        await _guard(409, concerns, partial(rings.check_start, ti_id=ti_id, now=now))


async def connection_hook(
    connection_id: str,
    token: Token,
    solver: Solver,
) -> None:
    """``GET /connections/{id}``: the credential ring."""
    if solver == "fastapi":
        ti_id, now = str(token.id), datetime.now(UTC)
        concerns = partial(rings.is_protected, conn_id=connection_id)

        def check(session: Session, parts: tuple[str, ...] | None) -> Refusal | None:
            return rings.check_connection(session, ti_id, connection_id, now=now, lookup=lambda _: parts)

        await _guard(403, concerns, check, partial(airflow_seams.connection_parts, connection_id))


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
            await to_thread.run_sync(partial(_after_state, str(token.id)))
        except Exception as error:
            # The dispatcher looks again within its next round.
            faults.report("look for spent grants", error)


async def clear_hook(
    dag_id: str,
    run_id: str,
    token: Token,
    solver: Solver,
) -> None:
    """``POST /dag-runs/{dag}/{run}/clear``: a task that clears a run shapes it, for its own people."""
    if solver == "fastapi":
        place = Place(dag_id, run_id, "")
        concerns = partial(overrides.is_gated, place=place)
        await _guard(409, concerns, partial(overrides.keep_clear_by_task, ti_id=str(token.id), place=place))


#: (method, end of the path) -> the hook on it.
HOOKS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("POST", "/hitlDetails/{task_instance_id}"): intake_hook,
    ("PATCH", "/hitlDetails/{task_instance_id}"): own_answer_hook,
    ("PATCH", "/task-instances/{task_instance_id}/run"): start_hook,
    ("PATCH", "/task-instances/{task_instance_id}/state"): state_hook,
    ("GET", "/connections/{connection_id}"): connection_hook,
    ("POST", "/dag-runs/{dag_id}/{run_id}/clear"): clear_hook,
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


async def _guard(
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
        refusal = await to_thread.run_sync(judge)
    except Exception as error:
        faults.report("judge a call of the Execution API, so it is refused", error)
        detail = {"reason": "approvals_fault", "message": "The approvals server could not judge this call."}
        raise HTTPException(status, detail) from None
    if refusal is not None:
        raise HTTPException(
            refusal.status, {"reason": f"approvals_{refusal.code}", "message": refusal.sentence}
        )


def _is_gate(session: Session, ti_id: str) -> bool:
    ti = airflow_seams.task_instance(session, ti_id)
    return ti is not None and intake.is_gate_task(session, ti)


def _has_asked(session: Session, ti_id: str) -> bool:
    return _is_gate(session, ti_id) or intake.place_has_intake(session, ti_id)


def _take_down(session: Session, ti_id: str, body: Mapping[str, Any]) -> Refusal | None:
    ti = airflow_seams.task_instance(session, ti_id)
    if ti is None:
        return None
    row = intake.take_down(session, ti, body, now=datetime.now(UTC))
    if row.state == "invalid":
        return Refusal("invalid_ask", "The gate's request breaks its schema.", 422)
    return None


def _own_answer(session: Session, ti_id: str) -> Refusal | None:
    ti = airflow_seams.task_instance(session, ti_id)
    if ti is None:
        return None
    place = airflow_seams.place_of(ti)
    ledger.append(session, "foreign_answer_refused", at=datetime.now(UTC), place=place)
    return Refusal("own_answer", "A gate is answered by people, through the approvals server.", 409)


def _after_state(ti_id: str) -> None:
    if run_read(partial(_may_have_spent, ti_id=ti_id)):
        run_transaction(partial(_spend, ti_id=ti_id))


def _may_have_spent(session: Session, ti_id: str) -> bool:
    ti = airflow_seams.task_instance(session, ti_id)
    return (
        ti is not None and ti.state in airflow_seams.DONE and grants.any_bound(session, ti.dag_id, ti.run_id)
    )


def _spend(session: Session, ti_id: str) -> None:
    ti = airflow_seams.task_instance(session, ti_id)
    if ti is None:
        return
    for grant in grants.bound_in_run(session, ti.dag_id, ti.run_id):
        if grants.is_bound_to(session, grant, ti):
            grants.refresh(session, grant, None, ti, now=datetime.now(UTC))


def _json_object(body: bytes) -> Mapping[str, Any]:
    """Return the body as an object; what is not one is core's to refuse, and carries no ask."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
