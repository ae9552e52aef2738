"""The question that only a hook can answer: are you there?

The start-up check calls each hooked route inside the process, by ASGI. A mark in the call's
scope tells the hook; nothing that comes over the network can put one there, so from outside the
probe neither opens a route nor shows anything. The hook answers before it looks at a database.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import MutableMapping
from typing import Any
from uuid import UUID

from airflow.api_fastapi.execution_api.datamodels.token import TIClaims, TIToken
from fastapi import HTTPException, Request
from starlette.types import ASGIApp, Message

_KEY = "airflow_approvals.probe"
_MARK = object()
_NONCE = secrets.token_hex(16)
#: The task instance that a probe pretends to be; there is none of that id.
_NOBODY = UUID(int=0)


def answer(request: Request, hook: str) -> None:
    """Answer a probe in the hook's name; any other call passes.

    A hook does this only in the pass in which it acts: Cadwyn solves dependencies a second time,
    by the newest version's route, and an answer from there would prove nothing.

    :raises HTTPException: the answer.
    """
    if request.scope.get(_KEY) is _MARK:
        raise HTTPException(409, {"reason": "approvals_probe", "hook": hook, "nonce": _NONCE})


async def ask(app: ASGIApp, method: str, path: str, version: str) -> str | None:
    """Call a route of the Execution API; return the name of the hook that answered, if one did.

    :param path: with its parameters in braces; each is filled in.
    :param version: the API version, as its header says it.
    """
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    try:
        await app(_scope(method, _filled(path), version), receive, send)
    except Exception:
        # The route's own code ran into the probe: no hook stood before it.
        return None
    return _hook_of(b"".join(message.get("body", b"") for message in sent))


def _filled(path: str) -> str:
    return "/".join(str(_NOBODY) if part.startswith("{") else part for part in path.split("/"))


def _scope(method: str, path: str, version: str) -> MutableMapping[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"probe"), (b"airflow-api-version", version.encode())],
        "client": None,
        "server": ("probe", 80),
        "state": {},
        # Where Airflow keeps a token that it has already checked in this call.
        "ti_token": TIToken(id=_NOBODY, claims=TIClaims(scope="execution")),
        _KEY: _MARK,
    }


def _hook_of(body: bytes) -> str | None:
    try:
        detail = json.loads(body)["detail"]
        return str(detail["hook"]) if detail["nonce"] == _NONCE else None
    except (ValueError, KeyError, TypeError):
        return None
