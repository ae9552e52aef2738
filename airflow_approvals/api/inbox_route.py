"""Airflow's own answer route, owned for gates: the native page and clients of core's API.

Core's route loads before it locks and compares nobody with the requester. For a gate this
answers in its place, through the same :func:`~airflow_approvals.control.decisions.decide`.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from functools import partial
from typing import Any

from anyio import to_thread
from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from airflow_approvals.api.asgi import whole_body
from airflow_approvals.api.auth import Caller, caller_of, same_origin
from airflow_approvals.control import intake, native_answers, registration
from airflow_approvals.control.decisions import Decided, decide, enter_not_permitted
from airflow_approvals.core.gate import APPROVE_OPTION, REJECT_OPTION
from airflow_approvals.core.models import Channel, Place, Refusal, Verdict
from airflow_approvals.enforcement.override_calls import parse_index
from airflow_approvals.errors import ApprovalsError
from airflow_approvals.identity import users
from airflow_approvals.seams import airflow_seams
from airflow_approvals.store.actors import is_name
from airflow_approvals.store.session import run_read, run_transaction

MAX_BODY_BYTES = 64 * 1024
#: What an INTEGER column takes; there is no map index beyond it.
LARGEST_INDEX = 2**31 - 1
#: How the note begins that tells why an answer on Airflow's page was refused.
NOTE = "Answer refused,"
_PATH = re.compile(
    r"/api/v2/dags/(?P<dag>[^/]+)/dagRuns/(?P<run>[^/]+)"
    r"/taskInstances/(?P<task>[^/]+)/(?P<index>[^/]+)/hitlDetails/?$"
)
_VERDICTS = {APPROVE_OPTION: Verdict.APPROVE, REJECT_OPTION: Verdict.REJECT}


def place_in(method: str, path: str) -> Place | None:
    """Return the gate that an answer on Airflow's own route is about."""
    match = _PATH.search(path) if method == "PATCH" else None
    index = parse_index(match["index"]) if match is not None else None
    if match is None or index is None or abs(index) > LARGEST_INDEX:
        return None
    place = Place(match["dag"], match["run"], match["task"], index)
    return place if all(map(is_name, (place.dag_id, place.run_id, place.task_id))) else None


async def is_ours(place: Place) -> bool:
    """Whether the task is a gate (or has ever asked as one)."""
    return await to_thread.run_sync(lambda: run_read(lambda session: _is_gate(session, place)))


async def answer(request: Request, place: Place) -> JSONResponse:
    """Authenticate, authorise, and cast the vote; the answer has the shape of core's."""
    try:
        caller = await _authorised(request, place)
        verdict = _verdict(await _body(request))
    except HTTPException as refused:
        return JSONResponse({"detail": refused.detail}, refused.status_code)
    try:
        outcome = await to_thread.run_sync(lambda: _decide(place, caller, verdict))
    except ApprovalsError as error:
        return JSONResponse({"detail": str(error)}, 409)
    if isinstance(outcome, Refusal):
        await to_thread.run_sync(partial(_leave_note, place, caller, outcome))
        # The native page drops a 403 without a word; of a 409 it shows the name of the status, and
        # the reason stands in the gate's note above.
        status = 409 if outcome.status == 403 else outcome.status
        return JSONResponse({"detail": outcome.sentence}, status)
    return JSONResponse(_response(caller, verdict))


def _is_gate(session: Session, place: Place) -> bool:
    ti = airflow_seams.task_instance_at(session, place)
    if ti is None:
        return False
    return intake.is_gate_task(session, ti) or intake.place_has_intake(session, str(ti.id))


async def _authorised(request: Request, place: Place) -> Caller:
    caller = await caller_of(request)
    allowed = await to_thread.run_sync(lambda: users.may_answer(caller.user, place.dag_id))
    if not allowed:
        await to_thread.run_sync(partial(_enter_not_permitted, place, caller))
        raise HTTPException(403, "Forbidden")
    if caller.channel is Channel.UI and not same_origin(request):
        raise HTTPException(403, "A browser session votes only from Airflow's own pages.")
    return caller


def _enter_not_permitted(place: Place, caller: Caller) -> None:
    request_id = run_read(partial(registration.newest_id, place=place))
    enter_not_permitted(
        place, request_id, person=caller.person, channel=caller.channel, now=datetime.now(UTC)
    )


async def _body(request: Request) -> Any:
    body = await whole_body(request.receive, MAX_BODY_BYTES)
    if body is None:
        raise HTTPException(413, "The answer is too large.")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(422, "The answer is not JSON.") from None


def _verdict(body: Any) -> Verdict:
    options = body.get("chosen_options") if isinstance(body, dict) else None
    option = options[0] if isinstance(options, list) and len(options) == 1 else None
    if not isinstance(option, str) or option not in _VERDICTS:
        raise HTTPException(400, f"Choose exactly one of {APPROVE_OPTION} and {REJECT_OPTION}.")
    return _VERDICTS[option]


def _decide(place: Place, caller: Caller, verdict: Verdict) -> Decided | Refusal:
    found = native_answers.request_answered(place, verdict)
    if isinstance(found, Refusal):
        return found
    return decide(found, person=caller.person, verdict=verdict, reason="", channel=caller.channel)


def _leave_note(place: Place, caller: Caller, refusal: Refusal) -> None:
    text = f"{NOTE} {caller.person.name}: {refusal.sentence}"
    run_transaction(lambda session: airflow_seams.leave_note(session, place, text, over=NOTE))


def _response(caller: Caller, verdict: Verdict) -> dict[str, Any]:
    option = APPROVE_OPTION if verdict is Verdict.APPROVE else REJECT_OPTION
    return {
        "responded_by": {"id": caller.person.id, "name": caller.person.name},
        "responded_at": datetime.now(UTC).isoformat(),
        "chosen_options": [option],
        "params_input": {},
    }
