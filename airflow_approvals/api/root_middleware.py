"""The root middleware: answers for gates, and keeps a record of who shapes a run.

Pure ASGI, in front of Airflow's own routes and behind its session handling. Whatever is not
about a gate passes through untouched.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from anyio import to_thread
from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from airflow_approvals.api import connection_tests, inbox_route
from airflow_approvals.api.asgi import App, Message, Receive, Scope, Send, body_again, whole_body
from airflow_approvals.api.auth import Caller, caller_of
from airflow_approvals.control import faults
from airflow_approvals.enforcement import overrides
from airflow_approvals.enforcement.override_calls import Override, recognise
from airflow_approvals.identity import users

#: A larger body is not carried out: what cannot be read cannot be recorded.
MAX_CAPTURE_BYTES = 4 * 1024 * 1024


class ApprovalsMiddleware:
    """See the module."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        place = inbox_route.place_in(method, path)
        if place is not None and await inbox_route.is_ours(place):
            response = await inbox_route.answer(Request(scope, receive), place)
            await response(scope, receive, send)
        elif (override := recognise(method, path, scope.get("query_string", b""))) is not None:
            # Whoever cut the body off waits for no answer.
            with suppress(ClientDisconnect):
                await self._record(override, scope, receive, send)
        elif connection_tests.concerns(method, path):
            with suppress(ClientDisconnect):
                await self._test_connection(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _test_connection(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await whole_body(receive, MAX_CAPTURE_BYTES)
        if body is None:
            too_large = JSONResponse({"detail": "The body of a connection test is too large."}, 413)
            await too_large(scope, receive, send)
        elif (refusal := await connection_tests.refusal(Request(scope), _parsed(body))) is not None:
            await refusal(scope, receive, send)
        else:
            await self.app(scope, body_again(body, receive), send)

    async def _record(self, override: Override, scope: Scope, receive: Receive, send: Send) -> None:
        body = b"" if override.says_it_all else await whole_body(receive, MAX_CAPTURE_BYTES)
        if body is None:
            refusal = JSONResponse({"detail": "The body is too large for a call that shapes a run."}, 413)
            await refusal(scope, receive, send)
            return
        begun = await _begin(override, scope, _parsed(body))
        if isinstance(begun, JSONResponse):
            await begun(scope, receive, send)
            return
        answer = await self._pass_on(
            receive if override.says_it_all else body_again(body, receive), scope, send
        )
        if begun.intent is not None:
            await to_thread.run_sync(partial(_end, override, begun, begun.intent, body, answer))

    async def _pass_on(self, receive: Receive, scope: Scope, send: Send) -> _Answer:
        answer = _Answer()

        async def sending(message: Message) -> None:
            answer.add(message)
            await send(message)

        await self.app(scope, receive, sending)
        return answer


@dataclass(frozen=True)
class _Begun:
    """Whose call it is, and what was written down before it was passed on."""

    caller: Caller
    intent: overrides.Intent | None


class _Answer:
    """What went past of Airflow's answer, whole: Airflow has held it in memory anyway."""

    def __init__(self) -> None:
        self.status = 0
        self.chunks: list[bytes] = []

    def add(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        self.chunks.append(message.get("body", b""))


async def _begin(override: Override, scope: Scope, body: Any) -> _Begun | JSONResponse:
    """Find out who calls and write them down; an answer when that cannot be done.

    Afterwards would be too late: a token may have run out by then, or the person be gone.
    """

    async def nothing() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    try:
        caller = await caller_of(Request(scope, nothing))
    except HTTPException as refused:
        return JSONResponse({"detail": refused.detail}, refused.status_code, refused.headers)
    try:
        intent = await to_thread.run_sync(partial(overrides.begin, override, caller.person, body))
    except Exception as error:
        faults.report("write down who shapes a run, so the call is refused", error)
        sentence = "Who does this could not be written down, so it was not done; try again in a moment."
        return JSONResponse({"detail": sentence}, 409)
    return _Begun(caller, intent)


def _end(override: Override, begun: _Begun, intent: overrides.Intent, body: bytes, answer: _Answer) -> None:
    """Record what Airflow did, or take back what it refused; where nobody can tell, the intent stays."""
    caller = begun.caller
    try:
        if 200 <= answer.status < 300:
            overrides.keep(
                override,
                caller.person,
                caller.channel,
                _parsed(body),
                _parsed(b"".join(answer.chunks)),
                intent=intent,
                may=partial(users.may_change_tasks, caller.user),
            )
        elif 300 <= answer.status < 500:
            overrides.take_back(intent)
    except Exception as error:
        faults.report("record an override; who did it stays in the requester set", error)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
