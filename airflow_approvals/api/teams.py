"""``POST /teams/messages``: what Teams tells our bot, opened by a token of the Bot Framework.

The token is checked before the body is read, and the body is parsed only after it. Teams waits ten
seconds for an answer; when working on a press takes longer, the answer says so and work goes on.

The app that includes :data:`router` sets ``app.state.teams_door``; without it the route is shut.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DBAPIError
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect

from airflow_approvals.api.asgi import whole_body
from airflow_approvals.api.threads import Threads
from airflow_approvals.channels.teams_activity import (
    INVOKE,
    Activity,
    Answer,
    Press,
    error_answer,
    message_answer,
    parse_activity,
    parse_press,
)
from airflow_approvals.channels.teams_cards import VIEW
from airflow_approvals.channels.teams_token import CHANNEL, Caller, ForeignCallerError, KeyRing, verify
from airflow_approvals.chat.teams import slow
from airflow_approvals.chat.teams_refusals import SLOW_CARD
from airflow_approvals.config.settings import Settings, read_secret
from airflow_approvals.control import faults
from airflow_approvals.control.teams_media import bot_configured
from airflow_approvals.errors import (
    ApprovalsError,
    ConfigurationError,
    ContractError,
    SignatureError,
    UnavailableError,
)

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024
#: Teams gives up after ten seconds; what is left is for the way there and back.
ANSWER_SECONDS = 7.0
#: How much longer for an outcome that is being committed.
GRACE_SECONDS = 2.0
#: Hosts of Teams' connector. Others below trafficmanager.net are anybody's.
SERVICE_HOSTS = frozenset({"smba.trafficmanager.net"})

router = APIRouter(tags=["Teams"])

#: Threads of their own: an identity service, a directory or a vendor that hangs, and calls that are
#: nobody's, hold up neither each other nor the server.
_provers = Threads("teams_provers", 16)
_keepers = Threads("teams_keepers", 8)
_workers = Threads("teams_workers", 12)
#: Teams asks for views by itself, of up to sixty people at once: no vote queues behind them.
_viewers = Threads("teams_viewers", 4)
_senders = Threads("teams_senders", 4)


@dataclass(frozen=True)
class TeamsGate:
    """By what a call is let in: the bot it has to be for, the tenant, the services and the keys."""

    app_id: str
    tenant: str
    hosts: frozenset[str]
    keys: KeyRing


@dataclass(frozen=True)
class TeamsDoor:
    """What the route rests on.

    ``gate`` reads the configuration at each call (``None``: no bot is configured); ``begin``
    writes a press down and returns what works on it, which gives the answer and claims the person's
    waiting for it;
    ``deliver`` sends what is queued; ``now`` is the clock, in seconds since 1970.
    """

    gate: Callable[[], TeamsGate | None]
    begin: Callable[[Press, Callable[[], bool]], Callable[[], Answer]]
    deliver: Callable[[], object] = lambda: None
    now: Callable[[], float] = time.time
    patience: float = ANSWER_SECONDS


def gate_of(settings: Settings) -> TeamsGate | None:
    """Return the gate of this deployment; none when no bot is configured.

    :raises ConfigurationError: when the secret file cannot be read or an address has no valid form.
    """
    if not bot_configured(settings) or settings.teams_app_password_file is None:
        return None
    read_secret(settings.teams_app_password_file, "teams_app_password_file")
    hosts = SERVICE_HOSTS | {urlsplit(settings.teams_service_url).hostname or ""}
    keys = _key_ring(settings.teams_openid_url)
    return TeamsGate(settings.teams_app_id or "", settings.teams_tenant or "", hosts, keys)


@lru_cache(maxsize=8)
def _key_ring(url: str) -> KeyRing:
    """It keeps its keys, so the same address gives the same one."""
    return KeyRing(url)


@router.post(
    "/teams/messages",
    summary="Take a press of a button from Teams",
    responses={
        200: {"description": "What happened, or what to show, as an invoke response."},
        400: {"description": "From the Bot Framework, but no activity."},
        401: {"description": "Not proven to come from the Bot Framework, or not for this bot."},
        403: {"description": "Not from Teams, or from another tenant."},
        413: {"description": "Larger than 64 KiB."},
        503: {"description": "No bot is configured, or the keys to check by cannot be had."},
    },
)
async def teams_messages(request: Request) -> Response:
    """Verify, read, and answer."""
    door: TeamsDoor | None = getattr(request.app.state, "teams_door", None)
    try:
        gate = await _provers.run(door.gate) if door is not None else None
        if door is None or gate is None:
            return _error(503, "teams_not_configured", "No Teams bot is configured here.")
        headers = request.headers.raw
        caller = await _provers.run(verify, headers, keys=gate.keys, app_id=gate.app_id, now=door.now())
    except (ConfigurationError, UnavailableError, SignatureError) as error:
        return _error(_status_of(error), error.code, error.message)
    try:
        body = await whole_body(request.receive, MAX_BODY_BYTES)
    except ClientDisconnect:
        body = b""  # half a body is no activity
    if body is None:
        return _error(413, "too_large", "The body is larger than 64 KiB.")
    return await _take(body, caller, gate, door)


def _status_of(error: ApprovalsError) -> int:
    if isinstance(error, SignatureError):
        return 403 if isinstance(error, ForeignCallerError) else 401
    return 503


async def _take(body: bytes, caller: Caller, gate: TeamsGate, door: TeamsDoor) -> Response:
    try:
        activity = parse_activity(body)
    except ContractError as error:
        return _error(400, error.code, error.message)
    if activity.channel != CHANNEL or not caller.speaks_for(activity.service_url, gate.hosts):
        return _error(403, "foreign_caller", "The token was not issued for the service of this activity.")
    press = _press(activity)
    if activity.tenant != gate.tenant:
        if isinstance(press, Press):
            await _answer(press, door)  # which refuses it, and records that
        return _error(403, "foreign_tenant", "Answers from another organisation do not count.")
    if press is None:
        return _noted(activity)
    if isinstance(press, ContractError):
        return JSONResponse(error_answer(400, press.code, press.message))
    return JSONResponse(await _answer(press, door), background=BackgroundTask(_senders.run, door.deliver))


def _press(activity: Activity) -> Press | ContractError | None:
    if (activity.type, activity.name) != ("invoke", INVOKE):
        return None
    try:
        return parse_press(activity)
    except ContractError as error:
        return error


def _noted(activity: Activity) -> Response:
    """Answer what needs no answer: the bot was added, removed, mentioned."""
    if activity.type in ("conversationUpdate", "installationUpdate"):
        log.info("approvals teams: the bot was added to or removed from %s", repr(activity.conversation))
    if activity.type == "invoke":
        return JSONResponse(error_answer(501, "not_supported", "This bot only takes answers to approvals."))
    return JSONResponse({})


async def _answer(press: Press, door: TeamsDoor) -> Answer:
    """Return the answer in time; work on the press goes on when it takes longer."""
    waiting = _Waiting()
    work = asyncio.ensure_future(_worked_on(press, door, waiting))
    _AT_WORK.add(work)
    work.add_done_callback(_AT_WORK.discard)
    done, _ = await asyncio.wait({work}, timeout=door.patience)
    if not done and waiting.leave():
        return message_answer(slow(press))
    # Whoever is not written to gets this very outcome: only its commit is still to come.
    done, _ = await asyncio.wait({work}, timeout=GRACE_SECONDS)
    return work.result() if done else message_answer(SLOW_CARD)


class _Waiting:
    """Somebody waits for what comes of a press.

    Either the outcome is claimed while they wait, and then it is their answer, or they have left,
    and then they are written to; one lock decides which.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = self._claimed = False

    def claim(self) -> bool:
        """Whether the person still waits; from then on they wait for this outcome."""
        with self._lock:
            self._claimed = self._claimed or not self._left
            return self._claimed

    def leave(self) -> bool:
        """Whether nothing is claimed, so that the person need not wait any longer."""
        with self._lock:
            self._left = not self._claimed
            return self._left


async def _worked_on(press: Press, door: TeamsDoor, waiting: _Waiting) -> Answer:
    try:
        rest = await _keepers.run(door.begin, press, waiting.claim)
        return await (_viewers if press.verb == VIEW else _workers).run(rest)
    except DBAPIError as error:
        # Not left to the server: it would log the statement, and with it what the person wrote.
        faults.report("write down a press in Teams, or show it", error)
        return error_answer(503, "unavailable", "It could not be written down. Please press again.")


#: The loop itself keeps no hold of a task.
_AT_WORK: set[asyncio.Future[Answer]] = set()


def _error(status: int, code: str, sentence: str) -> JSONResponse:
    return JSONResponse({"code": code, "detail": sentence}, status_code=status)
