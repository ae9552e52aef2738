"""Hooks on Airflow's Execution API, attached to its routes before the app is built.

1. A hook answers a JSON 4xx or nothing. A 5xx on ``/run`` would end the scheduler, so every
   fault inside a hook becomes a refusal: fail closed, and never loud.
2. Cadwyn solves dependencies twice; a hook acts only in the pass named ``fastapi``.
3. Database work runs in a worker thread: the hooks themselves are on the event loop.
4. Each hook first answers the start-up check (:mod:`airflow_approvals.enforcement.probe`).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from airflow.utils.state import TaskInstanceState
from anyio import to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute
from sqlalchemy.orm import Session

from airflow_approvals.control import faults, grants, intake
from airflow_approvals.core.models import Refusal
from airflow_approvals.enforcement import probe, pushes, rings
from airflow_approvals.enforcement.connection_hook import connection_hook
from airflow_approvals.enforcement.guard import Solver, Token, guard
from airflow_approvals.enforcement.run_hooks import clear_hook, trigger_hook, xcom_hook
from airflow_approvals.seams import airflow_seams
from airflow_approvals.store import ledger
from airflow_approvals.store.session import run_read, run_transaction


async def intake_hook(
    task_instance_id: str,
    request: Request,
    token: Token,
    solver: Solver,
) -> None:
    """``POST /hitlDetails/{id}``: take down what a gate asks for."""
    if solver == "fastapi":
        probe.answer(request, "intake_hook")
        body = _json_object(await request.body())
        ti_id = str(token.id)
        await guard(409, partial(_is_gate, ti_id=ti_id), partial(_take_down, ti_id=ti_id, body=body))


async def own_answer_hook(
    task_instance_id: str,
    request: Request,
    token: Token,
    solver: Solver,
) -> None:
    """``PATCH /hitlDetails/{id}``: no task answers a gate, neither its own nor another."""
    if solver == "fastapi":
        probe.answer(request, "own_answer_hook")
        concerns = partial(_has_asked, ti_id=task_instance_id)
        await guard(409, concerns, partial(_refuse_answer, ti_id=task_instance_id, by=str(token.id)))


async def start_hook(
    task_instance_id: str,
    request: Request,
    token: Token,
    solver: Solver,
) -> None:
    """``PATCH /task-instances/{id}/run``: the start ring; and no task starts a parked gate."""
    if solver == "fastapi":
        probe.answer(request, "start_hook")
        ti_id, now = str(token.id), datetime.now(UTC)
        concerns = partial(_start_is_judged, ti_id=ti_id)
        await guard(409, concerns, partial(_check_start, ti_id=ti_id, now=now))


async def state_hook(
    task_instance_id: str,
    request: Request,
    token: Token,
    solver: Solver,
) -> AsyncIterator[None]:
    """``PATCH /task-instances/{id}/state``: look, once core is done, whether a grant is spent.

    Before that, enter it when the task is a parked gate: core refuses that, without a record.
    Core validates and commits after this hook was entered and may still refuse or fail, so
    only what stands in the database afterwards counts.
    """
    if solver == "fastapi":
        probe.answer(request, "state_hook")
        asked = _json_object(await request.body()).get("state")
        await to_thread.run_sync(partial(_before_state, str(token.id), asked))
    yield
    if solver == "fastapi":
        try:
            await to_thread.run_sync(partial(_after_state, str(token.id)))
        except Exception as error:
            # The dispatcher looks again within its next round.
            faults.report("look for spent grants", error)


#: (method, end of the path) -> the hook on it.
HOOKS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("POST", "/hitlDetails/{task_instance_id}"): intake_hook,
    ("PATCH", "/hitlDetails/{task_instance_id}"): own_answer_hook,
    ("PATCH", "/task-instances/{task_instance_id}/run"): start_hook,
    ("PATCH", "/task-instances/{task_instance_id}/state"): state_hook,
    ("GET", "/connections/{connection_id}"): connection_hook,
    ("POST", "/dag-runs/{dag_id}/{run_id}/clear"): clear_hook,
    ("POST", "/dag-runs/{dag_id}/{run_id}"): trigger_hook,
    ("POST", "/xcoms/{dag_id}/{run_id}/{task_id}/{key:path}"): xcom_hook,
    ("DELETE", "/xcoms/{dag_id}/{run_id}/{task_id}/{key:path}"): xcom_hook,
}


def attach(router: APIRouter) -> None:
    """Put each hook on its route, once; Airflow builds its versioned app from these lists.

    :raises RuntimeError: when a route is not there, so that the start-up check can say so.
    """
    for (method, suffix), hook in HOOKS.items():
        route = _route(router, method, suffix)
        if not any(getattr(item, "dependency", None) is hook for item in route.dependencies):
            # Before Airflow's own check of whose row it is: an attempt on another's is entered too.
            place = 0 if hook is own_answer_hook else len(route.dependencies)
            route.dependencies.insert(place, Depends(hook))


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


def _is_gate(session: Session, ti_id: str) -> bool:
    try:
        ti = airflow_seams.task_instance(session, ti_id)
    except ValueError:
        return False  # no id at all, so Airflow's to refuse
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


def _refuse_answer(session: Session, ti_id: str, by: str) -> Refusal | None:
    ti = airflow_seams.task_instance(session, ti_id)
    if ti is None:
        return None
    sender = airflow_seams.task_instance(session, by)
    details = {"task": f"{sender.dag_id}.{sender.task_id}" if sender is not None else "no task"}
    place = airflow_seams.place_of(ti)
    ledger.append(session, "foreign_answer_refused", at=datetime.now(UTC), place=place, details=details)
    return Refusal("own_answer", "A gate is answered by people, through the approvals server.", 409)


def _start_is_judged(session: Session, ti_id: str) -> bool:
    return rings.is_behind_a_gate(session, ti_id) or pushes.is_parked_gate(session, ti_id)


def _check_start(session: Session, ti_id: str, now: datetime) -> Refusal | None:
    return pushes.refuse_start(session, ti_id, now=now) or rings.check_start(session, ti_id, now=now)


def _before_state(ti_id: str, asked: object) -> None:
    """Enter that a parked gate says it is done; to say once more that it is parked is no attempt."""
    try:
        if asked != TaskInstanceState.AWAITING_INPUT and run_read(
            partial(pushes.is_parked_gate, ti_id=ti_id)
        ):
            run_transaction(partial(pushes.keep, ti_id=ti_id, call="state", now=datetime.now(UTC)))
    except Exception as error:
        # Airflow refuses the call all the same.
        faults.report("enter that a parked gate was told to go on", error)


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
