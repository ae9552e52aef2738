"""``POST /slack/interactions``: clicks, opened by Slack's signature instead of a session.

Acknowledging is quick and safe: the click is written down before the answer, and worked on
after it. Slack does not send a click again, so what is not written down is not acknowledged.

The app that includes :data:`router` sets ``app.state.slack_door``; without it the route is shut.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from airflow_approvals.channels.slack_interaction import Click, parse_interaction
from airflow_approvals.channels.slack_signature import ProvenCallback, parse_secrets, verify
from airflow_approvals.config.settings import Settings, read_secret
from airflow_approvals.errors import ApprovalsError, ConfigurationError, ContractError, SignatureError

MAX_BODY_BYTES = 64 * 1024

router = APIRouter(tags=["Slack"])


@dataclass(frozen=True)
class SlackDoor:
    """What the route rests on.

    ``secrets`` reads the signing secrets in force at each call, so that they can be rotated
    without a restart; ``keep`` writes a click down (callback id, click) and returns once it is
    committed, without effect for a replay; ``process`` works on what was written down;
    ``now`` is the clock, in seconds since 1970.
    """

    secrets: Callable[[], tuple[str, ...]]
    keep: Callable[[str, Click], object]
    process: Callable[[], object]
    now: Callable[[], float] = time.time


def signing_secrets(settings: Settings) -> tuple[str, ...]:
    """Return the configured signing secrets; none when no file is named.

    :raises ConfigurationError: when the file cannot be read or holds no or too many secrets.
    """
    if settings.slack_signing_secret_file is None:
        return ()
    return parse_secrets(read_secret(settings.slack_signing_secret_file, "slack_signing_secret_file"))


@router.post(
    "/slack/interactions",
    summary="Take a click from Slack",
    responses={
        200: {"description": "The click is written down (or was already)."},
        400: {"description": "Signed by Slack, but not a click on one of our buttons."},
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
        secrets = await run_in_threadpool(door.secrets)
    except ConfigurationError as error:
        return _refused(503, error)
    if not secrets:
        return _error(503, "slack_not_configured", "No Slack signing secret is configured.")
    body = await _read(request)
    if body is None:
        return _error(413, "too_large", "The body is larger than 64 KiB.")
    return await _take(request, body, secrets, door)


async def _read(request: Request) -> bytes | None:
    """Return the body, or ``None`` as soon as it is larger than allowed."""
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                return None
    except ClientDisconnect:
        # Half a body has no valid signature.
        return b""
    return body


async def _take(request: Request, body: bytes, secrets: tuple[str, ...], door: SlackDoor) -> Response:
    try:
        callback: ProvenCallback = verify(request.headers.raw, body, secrets=secrets, now=door.now)
        click = parse_interaction(callback.body)
    except SignatureError as error:
        return _refused(401, error)
    except ContractError as error:
        return _refused(400, error)
    await run_in_threadpool(door.keep, callback.id, click)
    return Response(status_code=200, background=BackgroundTask(door.process))


def _refused(status: int, error: ApprovalsError) -> JSONResponse:
    return _error(status, error.code, error.message)


def _error(status: int, code: str, sentence: str) -> JSONResponse:
    return JSONResponse({"code": code, "detail": sentence}, status_code=status)
