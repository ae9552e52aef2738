"""ASGI by its parts, and a body that is read before the app behind reads it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import ClientDisconnect

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


async def whole_body(receive: Receive, at_most: int) -> bytes | None:
    """Return the body, or ``None`` as soon as it is larger than ``at_most`` bytes.

    :raises ClientDisconnect: when it is cut off.
    """
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        body += chunk
        if len(body) > at_most:
            return None
        if not message.get("more_body", False):
            return body


def body_again(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read once more, and then waits as before."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def reading() -> Message:
        return waiting.pop() if waiting else await receive()

    return reading
