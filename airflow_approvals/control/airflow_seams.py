"""Everything that leans on Airflow's internals: rows, locks, and the resume.

Written against Airflow 3.3; ``tests/control/test_airflow_seams.py`` holds a contract test for
each function. Locks are always taken in the order ``dag_run``, ``task_instance``,
``hitl_detail``: Airflow's own park and answer paths take the last two in that order too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow.models.backfill import Backfill
from airflow.models.connection import Connection
from airflow.models.dag_version import DagVersion
from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.log import Log
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancehistory import TaskInstanceHistory
from airflow.models.trigger import handle_event_submit
from airflow.triggers.base import TriggerEvent
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select
from sqlalchemy.orm import Session
from uuid6 import uuid7

from airflow_approvals.core.models import Person, Place

#: A try that ended by being seen through: what the release rings count as done.
DONE = (TaskInstanceState.SUCCESS, TaskInstanceState.SKIPPED)


#: Gives what identifies a Connection, as :func:`connection_parts` does.
Lookup = Callable[[str], tuple[str, ...] | None]


@dataclass(frozen=True)
class Parked:
    """The locked rows of one gate, freshly loaded."""

    run: DagRun
    ti: TaskInstance
    inbox: HITLDetail | None

    @property
    def is_waiting(self) -> bool:
        """Whether the task waits for an answer that nobody has written yet."""
        waiting = self.ti.state == TaskInstanceState.AWAITING_INPUT
        return waiting and self.inbox is not None and not self.inbox.response_received

    def is_try(self, ti_id: str, try_number: int) -> bool:
        """Whether the task still stands on that very try."""
        return str(self.ti.id) == ti_id and self.ti.try_number == try_number


def task_instance(session: Session, ti_id: str) -> TaskInstance | None:
    """Return the task instance of that id, without a lock."""
    from uuid import UUID

    return session.get(TaskInstance, UUID(ti_id))


def task_instance_at(session: Session, place: Place) -> TaskInstance | None:
    """Return the task instance that stands at that place, without a lock."""
    return session.scalar(select(TaskInstance).where(*_at(place)).execution_options(populate_existing=True))


def place_of(ti: TaskInstance) -> Place:
    """Return where a task instance stands."""
    return Place(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)


def lock_gate(session: Session, place: Place) -> Parked | None:
    """Lock and freshly load run, task instance and inbox row; ``None`` when the task is gone."""
    run = session.scalar(
        select(DagRun)
        .where(DagRun.dag_id == place.dag_id, DagRun.run_id == place.run_id)
        .with_for_update(of=DagRun)
        .execution_options(populate_existing=True)
    )
    ti = lock_task(session, place)
    if run is None or ti is None:
        return None
    inbox = session.scalar(
        select(HITLDetail)
        .where(HITLDetail.ti_id == ti.id)
        .with_for_update(of=HITLDetail)
        .execution_options(populate_existing=True)
    )
    return Parked(run, ti, inbox)


def lock_task(session: Session, place: Place) -> TaskInstance | None:
    """Lock and freshly load one task instance."""
    return session.scalar(
        select(TaskInstance)
        .where(*_at(place))
        .with_for_update(of=TaskInstance)
        .execution_options(populate_existing=True)
    )


def show_request(inbox: HITLDetail, *, subject: str, body: str) -> None:
    """Put the server's rendering into the inbox row.

    Defaults and assignees go: silence must not approve, and who may decide is the policy's to
    say. Parameters go, since Airflow would show them as editable form fields.
    """
    inbox.subject = subject
    inbox.body = body
    inbox.params = {}
    inbox.defaults = None
    inbox.assignees = []


def resume(
    session: Session,
    parked: Parked,
    *,
    options: list[str],
    by: Person,
    outcome: Mapping[str, Any],
    outcome_key: str,
    now: datetime,
) -> None:
    """Write the answer and send the parked task on its way, in the caller's transaction.

    The scheduler may drain the worker's exit event of the *park* seconds later and would then
    fail a task that is queued or running again under the same try ("state mismatch"). No delay
    is safe and no signal tells, so the parked try is archived and the task goes on as the next
    one: the late event names a try that is over. ``max_tries`` rises with it, so that the
    resumption costs the author no retry.
    """
    ti, inbox = parked.ti, parked.inbox
    assert inbox is not None  # noqa: S101 - the caller holds a waiting gate; for the type checker
    inbox.responded_at = now
    inbox.responded_by = {"id": by.id, "name": by.name}
    inbox.chosen_options = options
    inbox.params_input = {}
    archived = TaskInstanceHistory(ti, state=TaskInstanceState.DEFERRED)
    archived.task_instance_id = uuid7()
    session.add(archived)
    ti.try_number += 1
    ti.max_tries += 1
    ti.trigger_timeout = None
    payload = {**inbox.as_resume_event_payload(), outcome_key: dict(outcome)}
    handle_event_submit(TriggerEvent(payload), task_instance=ti, session=session)


def refuse_start(session: Session, ti: TaskInstance, why: str, *, now: datetime) -> None:
    """Fail a task that must not start, with the reason where people look for it."""
    ti.state = TaskInstanceState.FAILED
    ti.start_date = ti.start_date or now
    ti.end_date = now
    ti.set_duration()
    explain(session, ti, why)


def explain(session: Session, ti: TaskInstance, why: str) -> None:
    """Leave the reason as the task's note and as a row of Airflow's own log."""
    ti.note = why[:1000]
    session.add(
        Log(
            event="approvals_refused",
            dag_id=ti.dag_id,
            task_id=ti.task_id,
            run_id=ti.run_id,
            map_index=ti.map_index,
            try_number=ti.try_number,
            owner="approvals",
            extra=why,
        )
    )


def leave_note(session: Session, place: Place, text: str, *, over: str) -> None:
    """Leave a note on a task, unless people's own words stand there.

    :param over: how a note begins that may be replaced.
    """
    ti = lock_task(session, place)
    if ti is not None and (not ti.note or ti.note.startswith(over)):
        ti.note = text[:1000]


def was_seen_through(session: Session, place: Place, first_try: int) -> bool:
    """Whether a try of this task, ``first_try`` or later, ended in success or was skipped."""
    live = task_instance_at(session, place)
    if live is not None and live.state in DONE and live.try_number >= first_try:
        return True
    return was_replaced_after_success(session, place, first_try)


def was_replaced_after_success(session: Session, place: Place, first_try: int) -> bool:
    """Whether a try that was seen through has since been cleared.

    The history keeps what a clear has replaced in the live row.
    """
    history = TaskInstanceHistory
    past = select(history.task_instance_id).where(
        history.dag_id == place.dag_id,
        history.run_id == place.run_id,
        history.task_id == place.task_id,
        history.map_index == place.map_index,
        history.try_number >= first_try,
        history.state.in_(DONE),
    )
    return session.scalar(past.limit(1)) is not None


def max_tries_of(session: Session, dag_id: str, run_id: str) -> dict[tuple[str, int], int]:
    """Return ``max_tries`` of every task of a run; a clear raises it, a retry does not."""
    rows = session.execute(
        select(TaskInstance.task_id, TaskInstance.map_index, TaskInstance.max_tries).where(
            TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id
        )
    )
    return {(task_id, map_index): tries for task_id, map_index, tries in rows}


def dag_hash(session: Session, ti: TaskInstance) -> str:
    """Return the hash of the serialized DAG the task instance runs by; empty when unknown."""
    found = session.scalar(
        select(SerializedDagModel.dag_hash).where(SerializedDagModel.dag_version_id == ti.dag_version_id)
    )
    return found or ""


def dag_version(session: Session, ti: TaskInstance) -> tuple[int, str]:
    """Return the DAG's version number and bundle version, 0 and empty when unknown."""
    version = session.get(DagVersion, ti.dag_version_id) if ti.dag_version_id else None
    if version is None:
        return 0, ""
    return version.version_number, version.bundle_version or ""


def connection_parts(conn_id: str) -> tuple[str, ...] | None:
    """Return what identifies a Connection's destination and account, or ``None`` when undefined.

    The parts hold the password: they go into a keyed fingerprint and nowhere else.
    """
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        conn = Connection.get_connection_from_secrets(conn_id)
    except AirflowNotFoundException:
        return None
    parts = (conn.conn_type, conn.host, conn.port, conn.schema, conn.login, conn.password, conn.extra)
    return tuple("" if part is None else str(part) for part in parts)


def triggering_user(session: Session, dag_id: str, run_id: str) -> str | None:
    """Return the name Airflow recorded for whoever triggered the run.

    A run triggered from another run inherits that run's user, so this names parents' users too.
    """
    return session.scalar(
        select(DagRun.triggering_user_name).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
    )


def backfiller(session: Session, dag_id: str, run_id: str) -> str | None:
    """Return who started the backfill that made or re-ran the run.

    A backfill that reprocesses an existing run leaves its triggering user as it was.
    """
    return session.scalar(
        select(Backfill.triggering_user_name)
        .join(DagRun, DagRun.backfill_id == Backfill.id)
        .where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
    )


def run_after(session: Session, dag_id: str, run_id: str) -> datetime | None:
    """Return the earliest moment the run could start; unlike the time it was queued, a clear keeps it."""
    return session.scalar(select(DagRun.run_after).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))


def logged_clearers(session: Session, dag_id: str, run_id: str) -> set[str]:
    """Return the users whom Airflow's own log names for clearing in this run."""
    rows = session.scalars(
        select(Log.owner).where(Log.dag_id == dag_id, Log.run_id == run_id, Log.event.in_(_CLEARING_EVENTS))
    )
    return {owner for owner in rows if owner}


_CLEARING_EVENTS = ("post_clear_task_instances", "clear_dag_run", "clear_dag_runs")


def _at(place: Place) -> tuple[Any, ...]:
    return (
        TaskInstance.dag_id == place.dag_id,
        TaskInstance.run_id == place.run_id,
        TaskInstance.task_id == place.task_id,
        TaskInstance.map_index == place.map_index,
    )
