"""The hook on ``GET /connections/{id}``: judge before Airflow reads the Connection, and look once more after.

Airflow reads the Connection for its answer after this hook has judged it. Somebody who edits it in
between would have a task send what was approved elsewhere, so the answer leaves only when the
Connection is still what was judged; otherwise the approval ends.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import TypeAlias

from anyio import to_thread
from fastapi import Request
from sqlalchemy.orm import Session

from airflow_approvals.control import faults, judging
from airflow_approvals.core.models import Refusal
from airflow_approvals.enforcement import probe, rings
from airflow_approvals.enforcement.guard import Solver, Token, guard, http_refusal
from airflow_approvals.errors import UnavailableError
from airflow_approvals.identity.directory import Membership
from airflow_approvals.seams import airflow_seams, airflow_seams_connections
from airflow_approvals.store.session import run_read, run_transaction

#: What identifies a Connection, ``None`` for one that is not defined, or why nobody can tell now.
Parts: TypeAlias = tuple[str, ...] | UnavailableError | None
#: Where FastAPI keeps what ends when the route's function has returned, before the answer is sent.
#: ``Depends(scope="function")`` would say the same, but Cadwyn 7 drops the scope of what it copies.
_AFTER_THE_ROUTE = "fastapi_function_astack"


async def connection_hook(
    connection_id: str,
    request: Request,
    token: Token,
    solver: Solver,
) -> None:
    """``GET /connections/{id}``: the credential ring."""
    if solver == "fastapi":
        stack: AsyncExitStack = request.scope[_AFTER_THE_ROUTE]
        probe.answer(request, "connection_hook")
        opening = _Opening(connection_id, str(token.id))
        # The Connection last: Airflow reads it once more for its answer, and groups may take long to ask.
        await guard(403, opening.concerns, opening.check, judging.membership_now, opening.look)
        if opening.judged is not None:
            stack.push_async_exit(opening.look_again)


@dataclass
class _Opening:
    """One task's call for one Connection; ``judged`` is what was found good, when it is protected."""

    conn_id: str
    ti_id: str
    judged: tuple[str, ...] | None = None

    def concerns(self, session: Session) -> bool:
        return rings.is_protected(session, self.conn_id)

    def look(self) -> Parts:
        """Look the Connection up as Airflow's route will, for the team of the task's DAG."""
        team = run_read(partial(airflow_seams_connections.team_of_task, ti_id=self.ti_id))
        try:
            return airflow_seams.connection_parts(self.conn_id, team)
        except UnavailableError as error:
            return error

    def check(self, session: Session, members: Membership, parts: Parts) -> Refusal | None:
        if isinstance(parts, UnavailableError):
            return rings.keep_shut_for_now(session, self.ti_id, parts)
        refusal = rings.check_connection(
            session,
            self.ti_id,
            self.conn_id,
            now=datetime.now(UTC),
            lookup=lambda _: parts,
            membership=lambda: members,
        )
        self.judged = parts if refusal is None else None
        return refusal

    async def look_again(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send Airflow's answer only when the Connection is what was judged before it was read."""
        if kind is None and (refusal := await to_thread.run_sync(self._changed)) is not None:
            raise http_refusal(refusal)

    def _changed(self) -> Refusal | None:
        try:
            parts = self.look()
            if parts == self.judged:
                return None
            if isinstance(parts, UnavailableError):
                withheld = partial(rings.withhold, error=parts, now=datetime.now(UTC))
                return run_transaction(partial(withheld, ti_id=self.ti_id))
            return run_transaction(
                partial(rings.take_back, ti_id=self.ti_id, conn_id=self.conn_id, now=datetime.now(UTC))
            )
        except Exception as fault:
            faults.report("look at a connection once more, so it is not given", fault)
            return Refusal("fault", "The approvals server could not judge this call.", 403)
