"""What tasks do to runs that are not theirs: who shaped the run of the task has shaped the other too.

A task triggers a run, clears one, or writes into one. Airflow lets a triggered run inherit the
triggering user and nothing else; whoever cleared, unpaused or fed the run of the task would be
lost. So they are written down before Airflow acts, that nothing is done without them, and taken
back when it does nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy.orm import Session

from airflow_approvals.control.requesters import BY_COMMAND, requesters_of
from airflow_approvals.core.models import Person, Place
from airflow_approvals.enforcement import overrides
from airflow_approvals.seams import airflow_seams
from airflow_approvals.seams import airflow_seams_people as people
from airflow_approvals.store import actors


def has_more_than_its_user(session: Session, ti_id: str, child: Place) -> bool:
    """Whether the task's run has requesters whom Airflow does not let a new run inherit.

    A run that is there already is not the task's to make, so nobody is handed on to it.
    """
    if people.run_exists(session, child.dag_id, child.run_id):
        return False
    return bool(_not_inherited(session, ti_id, "trigger"))


def keep_parents(session: Session, ti_id: str, child: Place, act: str = "trigger") -> list[int]:
    """Write down, for the run that the task triggers, who started or shaped the task's own run.

    :returns: the ids of the new rows.
    """
    return _hand_on(session, child, _not_inherited(session, ti_id, act))


def _not_inherited(session: Session, ti_id: str, act: str) -> set[tuple[str, str]]:
    """Return names, each with the act that hands it on.

    A name that a command line gave is inherited as if it were a user's, so that is handed on too.
    """
    ti = airflow_seams.task_instance(session, ti_id)
    if ti is None:
        return set()
    inherited = people.triggering_user(session, ti.dag_id, ti.run_id)
    found = requesters_of(session, airflow_seams.place_of(ti))
    by_command = {name for name, why in found.members if why.startswith(BY_COMMAND)}
    handed_on = {(name, "command" if name in by_command else act) for name in found.names - {inherited}}
    return handed_on | ({(inherited, "command")} if inherited and found.unattributed else set())


def is_known(session: Session, ti_id: str) -> bool:
    """Whether the token is that of a task; processes with an Execution API of their own have none."""
    return airflow_seams.task_instance(session, ti_id) is not None


def is_of_another_run(session: Session, ti_id: str, target: Place) -> bool:
    """Whether a known task acts on a run that is not its own."""
    ti = airflow_seams.task_instance(session, ti_id)
    return ti is not None and (ti.dag_id, ti.run_id) != (target.dag_id, target.run_id)


def keep_act(session: Session, ti_id: str, target: Place, act: str) -> list[int]:
    """Write down, for the run that a task of another run acts on, who started or shaped that other run.

    Where nobody is known, the task stands for them.
    :returns: the ids of the new rows.
    """
    ti = airflow_seams.task_instance(session, ti_id)
    if ti is None:
        return []
    names = requesters_of(session, airflow_seams.place_of(ti)).names or {_task(ti_id, session)}
    return _hand_on(session, target, {(name, act) for name in names})


def enter_act(session: Session, ti_id: str, target: Place, act: str) -> None:
    """Enter into the ledger what a task has done to a gated run."""
    if not overrides.is_gated(session, target):
        return
    ti = airflow_seams.task_instance(session, ti_id)
    by_task = _task(ti_id, session)
    user = people.triggering_user(session, ti.dag_id, ti.run_id) if ti is not None else None
    person = Person(user or by_task, user or by_task)
    overrides.lock(session, [(target.dag_id, target.run_id)])
    overrides.enter(session, person, None, by_task, act, target, now=datetime.now(UTC))


def _task(ti_id: str, session: Session) -> str:
    ti = airflow_seams.task_instance(session, ti_id)
    return f"task {ti.task_id} of {ti.dag_id}" if ti is not None else "no task"


def _hand_on(session: Session, target: Place, named: set[tuple[str, str]]) -> list[int]:
    """Write down names with their acts; again for each call, since each call may yet be taken back."""
    now, whole = datetime.now(UTC), Place(target.dag_id, target.run_id, "")
    rows: list[int] = []
    for name, act in sorted(named):
        rows += actors.add(session, [whole], Person(name, name), act, at=now)
    return rows
