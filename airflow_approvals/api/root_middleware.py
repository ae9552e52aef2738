"""The root middleware: answers for gates, and keeps a record of who overrides a gated run.

Pure ASGI, in front of Airflow's own routes and behind its session handling. Whatever is not
about a gate passes through untouched.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from anyio import to_thread
from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse

from airflow_approvals.api import inbox_route
from airflow_approvals.api.auth import caller_of
from airflow_approvals.control import faults, overrides

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: A larger answer of core (a very large clear) is not read for the runs it names.
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
        elif (override := overrides.recognise(method, path)) is not None:
            await self._record(override, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _record(self, override: overrides.Override, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _whole_body(receive)
        if body is None:
            # What cannot be read cannot be recorded, so it is not done either.
            refusal = JSONResponse({"detail": "The body is too large for a call on a gated run."}, 413)
            await refusal(scope, receive, send)
            return
        answer = _Copy()
        status = 0
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def reading() -> Message:
            return waiting.pop() if waiting else await receive()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            answer.add(message.get("body", b""))
            await send(message)

        await self.app(scope, reading, sending)
        if 200 <= status < 300:
            await _keep(override, scope, _parsed(body), answer.parsed())


class _Copy:
    """The bytes of a body that went past, up to a cap."""

    def __init__(self) -> None:
        self._bytes = b""

    def add(self, chunk: bytes) -> None:
        if len(self._bytes) <= MAX_CAPTURE_BYTES:
            self._bytes += chunk

    def parsed(self) -> Any:
        return _parsed(self._bytes)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


async def _whole_body(receive: Receive) -> bytes | None:
    """Return the body, or ``None`` as soon as it is larger than what is read."""
    body = b""
    while True:
        message = await receive()
        chunk: bytes = message.get("body", b"")
        body += chunk
        if len(body) > MAX_CAPTURE_BYTES:
            return None
        if not message.get("more_body", False):
            return body


async def _keep(override: overrides.Override, scope: Scope, body: Any, answer: Any) -> None:
    async def nothing() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    try:
        caller = await caller_of(Request(scope, nothing))
    except HTTPException:
        return
    try:
        await to_thread.run_sync(
            lambda: overrides.keep(override, caller.person, caller.channel, body, answer)
        )
    except Exception as error:
        faults.report("record an override in a gated run", error)
