"""What is refused of any call before it is looked at: too much, and texts that no database takes.

Pure ASGI, around the approvals app. FastAPI reads and parses a whole body before it asks who
calls; PostgreSQL takes no NUL in a text.
"""

from __future__ import annotations

import re
from contextlib import suppress

from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from airflow_approvals.api.asgi import App, Receive, Scope, Send, body_again, whole_body

#: The largest body of the REST API: a batch of 100 requests is about 25 KiB, a run's configuration 64 KiB.
MAX_BODY_BYTES = 256 * 1024
#: A NUL as it comes in an address, and as JSON writes it: after an even number of backslashes.
_NUL_IN_QUERY = b"%00"
_NUL_IN_JSON = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class Bounds:
    """See the module."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection; callbacks of vendors have bounds of their own."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif "\0" in scope["path"] or _NUL_IN_QUERY in scope.get("query_string", b""):
            await _NUL(scope, receive, send)
        elif "/api/v1/" not in scope["path"]:
            await self.app(scope, receive, send)
        else:
            # Whoever cut the body off waits for no answer.
            with suppress(ClientDisconnect):
                await self._with_bounded_body(scope, receive, send)

    async def _with_bounded_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await whole_body(receive, MAX_BODY_BYTES)
        if body is None:
            await _refusal(413, "too_large", "The body is too large.")(scope, receive, send)
        elif b"\0" in body or _NUL_IN_JSON.search(body) is not None:
            await _NUL(scope, receive, send)
        else:
            await self.app(scope, body_again(body, receive), send)


def _refusal(status: int, code: str, detail: str) -> JSONResponse:
    return JSONResponse({"code": code, "detail": detail}, status)


_NUL = _refusal(422, "invalid", "Not valid: a text holds a NUL.")
