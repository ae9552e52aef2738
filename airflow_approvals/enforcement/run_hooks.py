"""Hooks on the calls by which a task acts on runs: it triggers one, clears one, writes into one.

The people of the task's own run are written down before Airflow acts, and taken back when it does
not act. Should the server die in between, they stay.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial

from anyio import to_thread
from fastapi import Request
from sqlalchemy.orm import Session

from airflow_approvals.control import faults
from airflow_approvals.core.models import Place
from airflow_approvals.enforcement import parents, probe
from airflow_approvals.enforcement.guard import Solver, Token, guard
from airflow_approvals.seams import airflow_seams
from airflow_approvals.seams import airflow_seams_people as people
from airflow_approvals.store import actors
from airflow_approvals.store.session import run_transaction


async def clear_hook(
    dag_id: str,
    run_id: str,
    request: Request,
    token: Token,
    solver: Solver,
) -> AsyncIterator[None]:
    """``POST /dag-runs/{dag}/{run}/clear``: a task that clears a run shapes it, for its own people."""
    act = _ByTask("clear", str(token.id), Place(dag_id, run_id, ""))
    if solver == "fastapi":
        probe.answer(request, "clear_hook")
        await act.begin(partial(parents.is_known, ti_id=act.ti_id), parents.keep_act)
    async with act:
        yield


async def xcom_hook(
    dag_id: str,
    run_id: str,
    task_id: str,
    request: Request,
    token: Token,
    solver: Solver,
) -> AsyncIterator[None]:
    """``POST`` and ``DELETE /xcoms/…``: a task that writes into another run shapes it, for its own people."""
    act = _ByTask("edit", str(token.id), Place(dag_id, run_id, task_id))
    if solver == "fastapi":
        probe.answer(request, "xcom_hook")
        concerns = partial(parents.is_of_another_run, ti_id=act.ti_id, target=act.target)
        await act.begin(concerns, parents.keep_act)
    async with act:
        yield


async def trigger_hook(
    dag_id: str,
    run_id: str,
    request: Request,
    token: Token,
    solver: Solver,
) -> AsyncIterator[None]:
    """``POST /dag-runs/{dag}/{run}``: who shaped the run that triggers has shaped the new one."""
    act = _ByTask("trigger", str(token.id), Place(dag_id, run_id, ""))
    if solver == "fastapi":
        probe.answer(request, "trigger_hook")
        concerns = partial(parents.has_more_than_its_user, ti_id=act.ti_id, child=act.target)
        await act.begin(concerns, parents.keep_parents)
    async with act:
        yield


class _ByTask:
    """What a task does to a run: its people are written down before, the act is entered after."""

    def __init__(self, act: str, ti_id: str, target: Place) -> None:
        self.act, self.ti_id, self.target = act, ti_id, target
        self._rows: list[int] = []
        self._clears = 0

    async def begin(self, concerns: Callable[[Session], bool], keep: Callable[..., list[int]]) -> None:
        """Write down whom it concerns, by ``keep``."""

        def work(session: Session) -> None:
            self._rows = keep(session, self.ti_id, self.target, self.act)
            self._clears = airflow_seams.clear_number(session, self.target.dag_id, self.target.run_id)

        await guard(409, concerns, work)

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # Of a refusal the hook that acted (see Solver) is told no more than that the call is over.
        if self._rows:
            await to_thread.run_sync(self._end, error is None)

    def _end(self, done: bool) -> None:
        def work(session: Session) -> None:
            if not (done or self._was_done(session)):
                actors.forget(session, self._rows)
            elif self.act != "trigger":
                parents.enter_act(session, self.ti_id, self.target, self.act)

        try:
            run_transaction(work)
        except Exception as error:
            # Its people stay in the requester set: safe, and no reason to fail a call that is over.
            faults.report("enter what a task has done to another run", error)

    def _was_done(self, session: Session) -> bool:
        """Whether the database shows that a call was carried out which seemed to be refused."""
        dag_id, run_id = self.target.dag_id, self.target.run_id
        if self.act == "trigger":
            return people.run_exists(session, dag_id, run_id)
        return self.act == "clear" and airflow_seams.clear_number(session, dag_id, run_id) != self._clears
