"""``POST /slack/interactions``: clicks and forms, opened by Slack's signature instead of a session.

What comes in is written down before it is acknowledged, and acknowledged before Slack loses
patience; see :mod:`airflow_approvals.chat.slack_callbacks`.

The app that includes :data:`router` sets ``app.state.slack_door``; without it the route is shut.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from anyio import current_time, sleep
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DBAPIError
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect

from airflow_approvals.api.asgi import whole_body
from airflow_approvals.api.threads import Threads
from airflow_approvals.channels.slack_interaction import parse_form
from airflow_approvals.channels.slack_signature import ProvenCallback, parse_secrets, verify
from airflow_approvals.chat.slack_callbacks import Answer
from airflow_approvals.config.named_secrets import is_named, named_secret
from airflow_approvals.config.settings import Settings
from airflow_approvals.control import faults
from airflow_approvals.errors import ApprovalsError, ConfigurationError, ContractError, SignatureError

MAX_BODY_BYTES = 64 * 1024

router = APIRouter(tags=["Slack"])

#: Threads of their own: acknowledging must not wait for what hangs elsewhere in the server, nor
#: for what is still worked on after earlier acknowledgements.
_takers = Threads("slack_takers", 64)
_workers = Threads("slack_workers", 8)
#: What was acknowledged and waits for a worker.
_waiting: list[Callable[[], object]] = []
#: For how long work steps aside for acknowledgements: a form has to be opened within three seconds.
_STEP_ASIDE_SECONDS = 0.5
_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class SlackDoor:
    """What the route rests on.

    ``secrets`` reads the signing secrets in force at each call, so that they can be rotated
    without a restart; ``take`` is :func:`airflow_approvals.chat.slack_callbacks.take`;
    ``now`` is the clock, in seconds since 1970.
    """

    secrets: Callable[[], tuple[str, ...]]
    take: Callable[[str, Mapping[str, Any]], Answer]
    now: Callable[[], float] = time.time


def signing_secrets(settings: Settings) -> tuple[str, ...]:
    """Return the configured signing secrets; none when neither a file nor a key names them.

    :raises ConfigurationError: when they cannot be read, or are none or too many.
    """
    if not is_named(settings, "slack_signing_secret"):
        return ()
    return parse_secrets(named_secret(settings, "slack_signing_secret"))


@router.post(
    "/slack/interactions",
    summary="Take a click or a form from Slack",
    responses={
        200: {"description": "It is written down (or was already); a form may get an answer."},
        400: {"description": "Signed by Slack, but no click on a button and no form of ours."},
        401: {"description": "Not signed by Slack, or too old."},
        413: {"description": "Larger than 64 KiB."},
        503: {"description": "No signing secret is configured."},
    },
)
async def slack_interactions(request: Request) -> Response:
    """Verify, write down, acknowledge; then work on it."""
    door: SlackDoor | None = getattr(request.app.state, "slack_door", None)
    if door is None:
        return _error(503, "slack_not_configured", "Slack is not configured here.")
    try:
        body = await whole_body(request.receive, MAX_BODY_BYTES)
    except ClientDisconnect:
        body = b""  # half a body has no valid signature
    if body is None:
        return _error(413, "too_large", "The body is larger than 64 KiB.")
    return await _answered(request, body, door)


async def _answered(request: Request, body: bytes, door: SlackDoor) -> Response:
    try:
        answer = await _takers.run(_take, door, request.headers.raw, body)
    except DBAPIError as error:
        # Not left to the server: it would log the statement, and with it what the person wrote.
        faults.report("write down what Slack sent", error)
        return _error(503, "unavailable", "It could not be written down.")
    except (ConfigurationError, SignatureError, ContractError) as error:
        return _refused(_status_of(error), error)
    if answer is None:
        return _error(503, "slack_not_configured", "No Slack signing secret is configured.")
    after = BackgroundTask(_afterwards, answer.after) if answer.after is not None else None
    if answer.body is None:
        return Response(status_code=200, background=after)
    return JSONResponse(answer.body, background=after)


def _status_of(error: ApprovalsError) -> int:
    if isinstance(error, ConfigurationError):
        return 503
    return 401 if isinstance(error, SignatureError) else 400


def _take(door: SlackDoor, headers: list[tuple[bytes, bytes]], body: bytes) -> Answer | None:
    """Verify and write down; ``None`` when there is no secret to verify with."""
    secrets = door.secrets()
    if not secrets:
        return None
    callback: ProvenCallback = verify(headers, body, secrets=secrets, now=door.now)
    return door.take(callback.id, parse_form(callback.body))


async def _afterwards(work: Callable[[], object]) -> None:
    _waiting.append(work)
    await _workers.run(_newest, before=_step_aside)


def _newest() -> None:
    """Do what came last: a form opens within three seconds or never, and nobody's clicks delay it."""
    _waiting.pop()()


async def _step_aside() -> None:
    """Wait while somebody waits for an acknowledgement: all threads share one interpreter."""
    until = current_time() + _STEP_ASIDE_SECONDS
    while _takers.busy and current_time() < until:
        await sleep(_LOOK_SECONDS)


def _refused(status: int, error: ApprovalsError) -> JSONResponse:
    return _error(status, error.code, error.message)


def _error(status: int, code: str, sentence: str) -> JSONResponse:
    return JSONResponse({"code": code, "detail": sentence}, status_code=status)
