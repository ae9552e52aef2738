"""Airflow's test of a Connection, shut for protected ones.

With ``[core] test_connection = Enabled``, ``POST /connections/test`` fills in the stored secret where
the body has none and uses it with what else the caller chooses: an ``extra`` that names another
endpoint sends the secret there, and no ring is asked. ``/enqueue-test`` can store what it tested.

Source: ``core_api/routes/public/connections.py`` of Airflow 3.3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from anyio import to_thread
from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse

from airflow_approvals.api.auth import Caller, caller_of
from airflow_approvals.control import faults
from airflow_approvals.enforcement import rings
from airflow_approvals.store import ledger
from airflow_approvals.store.ledger import EntryKind
from airflow_approvals.store.session import run_read, run_transaction

_PATH = re.compile(r"/api/v2/connections/(?:enqueue-)?test/?$")


def concerns(method: str, path: str) -> bool:
    """Whether this call tests a Connection."""
    return method == "POST" and _PATH.search(path) is not None


async def refusal(request: Request, body: Any) -> JSONResponse | None:
    """Return the answer to a test that is refused, ``None`` for one that is Airflow's to answer.

    :param body: the parsed body; what names no Connection, Airflow refuses itself.
    """
    conn_id = body.get("connection_id") if isinstance(body, Mapping) else None
    if not isinstance(conn_id, str):
        return None
    try:
        caller = await caller_of(request)
        is_protected = await to_thread.run_sync(lambda: run_read(lambda s: rings.is_protected(s, conn_id)))
        if is_protected:
            await to_thread.run_sync(lambda: _enter(caller, conn_id))
    except HTTPException:
        return None  # a stranger, and Airflow says so
    except Exception as error:
        faults.report("judge a test of a connection, so it is refused", error)
        return JSONResponse({"detail": "The approvals server could not judge this call."}, 403)
    return JSONResponse({"detail": _sentence(conn_id)}, 403) if is_protected else None


def _sentence(conn_id: str) -> str:
    return (
        f"Connection {conn_id} opens a protected sink, so nobody tests it from here: a test uses its secret. "
        "Ask for an approval and let a task use it."
    )


def _enter(caller: Caller, conn_id: str) -> None:
    details = {"because": "test of a protected connection", "connection": conn_id, "name": caller.person.name}
    run_transaction(
        lambda session: ledger.append(
            session,
            EntryKind.CREDENTIAL_REFUSED,
            at=datetime.now(UTC),
            actor=caller.person.id,
            channel=caller.channel,
            details=details,
        )
    )
