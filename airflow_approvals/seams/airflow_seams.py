"""Everything that leans on Airflow's internals: rows, locks, and the resume.

What Airflow knows of people is in ``airflow_seams_people``. Written against Airflow 3.3;
``tests/seams/test_airflow_seams.py`` holds a contract test for each function. Locks are always
taken in the order ``task_instance``, ``hitl_detail``, as in Airflow's own park and answer paths.
``dag_run`` is never locked: a mark takes it after the tasks, the scheduler takes it before them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

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
from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import QueryableAttribute, Session
from uuid6 import uuid7

from airflow_approvals.core.models import Person, Place
from airflow_approvals.errors import UnavailableError

#: A try that ended by being seen through: what the release rings count as done.
DONE = (TaskInstanceState.SUCCESS, TaskInstanceState.SKIPPED)


#: Gives what identifies a Connection, as :func:`connection_parts` does.
Lookup = Callable[[str], tuple[str, ...] | None]


@dataclass(frozen=True)
class Parked:
    """The locked rows of one gate, freshly loaded."""

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


def awaits_input(session: Session, place: Place, ti_id: str, try_number: int) -> bool:
    """Whether the task is parked on that very try, as far as can be seen without a lock."""
    ti = task_instance_at(session, place)
    if ti is None or str(ti.id) != ti_id or ti.try_number != try_number:
        return False
    return ti.state == TaskInstanceState.AWAITING_INPUT


def place_of(ti: TaskInstance) -> Place:
    """Return where a task instance stands."""
    return Place(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)


def is_task_in(
    place: tuple[QueryableAttribute[Any], ...], states: Collection[TaskInstanceState]
) -> ColumnElement[bool]:
    """Return the condition that the task at a place, given by columns, is in one of the states."""
    of_task = (TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index)
    here = (own == other for own, other in zip(of_task, place, strict=True))
    return exists().where(*here, TaskInstance.state.in_(states))


def lock_gate(session: Session, place: Place) -> Parked | None:
    """Lock and freshly load task instance and inbox row; ``None`` when the task is gone."""
    ti = lock_task(session, place)
    if ti is None:
        return None
    inbox = session.scalar(
        select(HITLDetail)
        .where(HITLDetail.ti_id == ti.id)
        .with_for_update(of=HITLDetail)
        .execution_options(populate_existing=True)
    )
    return Parked(ti, inbox)


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
    return stands_as_done(session, place, first_try) or was_replaced_after_success(session, place, first_try)


def stands_as_done(session: Session, place: Place, first_try: int) -> bool:
    """Whether the task's present try, ``first_try`` or later, ended in success or was skipped."""
    live = task_instance_at(session, place)
    return live is not None and live.state in DONE and live.try_number >= first_try


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


def clear_number(session: Session, dag_id: str, run_id: str) -> int:
    """Return how often the run was cleared; calls with ``reset_dag_runs: false`` do not count."""
    found = session.scalar(
        select(DagRun.clear_number).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
    )
    return found or 0


def dag_hash(session: Session, ti: TaskInstance) -> str:
    """Return the hash of the serialized DAG the task instance runs by; empty when unknown.

    A run that is not pinned to a version of its bundle runs what lies there now. Its rows follow a
    new version late or, once one of them has it, never, so there the newest version counts.
    Source: ``SchedulerJobRunner._verify_integrity_if_dag_changed``.
    """
    if ti.dag_version_id is None:
        return ""
    pinned = select(DagRun.bundle_version).where(DagRun.dag_id == ti.dag_id, DagRun.run_id == ti.run_id)
    found = select(SerializedDagModel.dag_hash).join(DagVersion)
    if session.scalar(pinned):
        found = found.where(DagVersion.id == ti.dag_version_id)
    else:
        found = found.where(DagVersion.dag_id == ti.dag_id)
    return session.scalar(found.order_by(DagVersion.version_number.desc()).limit(1)) or ""


def dag_version(session: Session, ti: TaskInstance) -> tuple[int, str]:
    """Return the DAG's version number and bundle version, 0 and empty when unknown."""
    version = session.get(DagVersion, ti.dag_version_id) if ti.dag_version_id else None
    if version is None:
        return 0, ""
    return version.version_number, version.bundle_version or ""


def bundle_of(session: Session, ti: TaskInstance) -> tuple[str, str]:
    """Return name and version of the bundle the task instance's code comes from; empty when unknown."""
    version = session.get(DagVersion, ti.dag_version_id) if ti.dag_version_id else None
    return (version.bundle_name or "", version.bundle_version or "") if version else ("", "")


def bundle_repository(bundle: str) -> Path:
    """Return where a git bundle keeps its bare repository on this machine, whether it is there or not.

    Source: ``GitDagBundle.bare_repo_path`` of apache-airflow-providers-git.
    """
    from airflow.dag_processing.bundles.base import get_bundle_base_folder

    return Path(get_bundle_base_folder(bundle)) / "bare"


def connection_parts(conn_id: str, team: str | None = None) -> tuple[str, ...] | None:
    """Return what identifies a Connection's destination and account, or ``None`` when undefined.

    The parts hold the password: they go into a keyed fingerprint and nowhere else.

    :param team: whose Connections are looked at beside those of nobody; see
        :func:`~airflow_approvals.seams.airflow_seams_connections.team_of`.

    :raises UnavailableError: when it was not found and a secrets backend could not be asked.
    """
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        conn = Connection.get_connection_from_secrets(conn_id, team_name=team)
    except AirflowNotFoundException:
        _require_backends(conn_id, team)
        return None
    parts = (conn.conn_type, conn.host, conn.port, conn.schema, conn.login, conn.password, conn.extra)
    return tuple("" if part is None else str(part) for part in parts)


def _require_backends(conn_id: str, team: str | None) -> None:
    """Ask each secrets backend by itself: Airflow takes one that fails for one that knows nothing."""
    from airflow._shared.secrets_backend.base import call_secrets_backend_method
    from airflow.configuration import ensure_secrets_loaded

    for backend in ensure_secrets_loaded():
        try:
            call_secrets_backend_method(backend.get_connection, team_name=team, conn_id=conn_id)
        except Exception as error:
            raise UnavailableError(
                f"Secrets backend {type(backend).__name__} cannot be asked for connection {conn_id}.",
                "Nothing is decided; try again when it can be reached.",
            ) from error


def _at(place: Place) -> tuple[Any, ...]:
    return (
        TaskInstance.dag_id == place.dag_id,
        TaskInstance.run_id == place.run_id,
        TaskInstance.task_id == place.task_id,
        TaskInstance.map_index == place.map_index,
    )
