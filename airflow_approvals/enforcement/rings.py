"""The start ring and the credential ring: what a task may do without a grant.

*Start*: a task that stands behind a gate does not start unless the gate holds a grant, so
marking a gate successful, skipping or deleting it releases nothing. *Credential*: a protected
Connection is opened only to a task with a usable grant for it, whatever the DAG's code does.
Both write their refusals to the ledger, to the task's note and to Airflow's log.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from airflow.models.taskinstance import TaskInstance
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.config.settings import Settings
from airflow_approvals.control import grants, judging, retally
from airflow_approvals.core.models import GrantState, Place, Refusal
from airflow_approvals.core.policy import Assurance
from airflow_approvals.core.spelling import connection_spelling
from airflow_approvals.enforcement import strangers
from airflow_approvals.errors import UnavailableError
from airflow_approvals.identity.directory import Membership
from airflow_approvals.seams import airflow_seams, dag_graph
from airflow_approvals.store import ledger, policies
from airflow_approvals.store.tables import GrantRow, IntakeRow, RequestRow

_STARTING = (TaskInstanceState.QUEUED, TaskInstanceState.RESTARTING)


def is_behind_a_gate(session: Session, ti_id: str) -> bool:
    """Whether the task's start has to be judged at all."""
    ti = airflow_seams.task_instance(session, ti_id)
    if ti is None or ti.state not in _STARTING:
        return False
    dag = dag_graph.load_dag(session, ti)
    if dag is None:
        return _run_is_gated(session, ti)
    return bool(dag_graph.gates_above(dag, ti.task_id))


def check_start(session: Session, ti_id: str, *, now: datetime) -> Refusal | None:
    """Refuse the start of a task whose gates are not open; the task is failed on the spot.

    A start may legally be sent again for a running task, so only a starting one is judged.
    """
    ti = airflow_seams.task_instance(session, ti_id)
    if ti is None or ti.state not in _STARTING:
        return None
    dag = dag_graph.load_dag(session, ti)
    gates = dag_graph.gates_above(dag, ti.task_id) if dag is not None else frozenset()
    locked = airflow_seams.lock_task(session, airflow_seams.place_of(ti))
    if locked is None or str(locked.id) != ti_id or locked.state not in _STARTING:
        return None
    grants.lock_run(session, airflow_seams.place_of(locked))
    why = _why_shut(session, dag, locked, gates, now=now)
    if why is None:
        return None
    airflow_seams.refuse_start(session, locked, why, now=now)
    _enter(session, "start_refused", locked, why, now=now)
    return Refusal("gate_shut", why, 409)


def _run_is_gated(session: Session, ti: TaskInstance) -> bool:
    of_run = select(RequestRow.id).where(RequestRow.dag_id == ti.dag_id, RequestRow.run_id == ti.run_id)
    return session.scalar(of_run.limit(1)) is not None


def _why_shut(
    session: Session, dag: Any, ti: TaskInstance, gates: frozenset[str], *, now: datetime
) -> str | None:
    if dag is None:
        return "Not started: the DAG of this gated run cannot be read."
    for gate_id in sorted(gates):
        for index in _needed_indexes(session, dag, gate_id, ti):
            place = Place(ti.dag_id, ti.run_id, gate_id, index)
            grant = grants.of_gate(session, place)
            if grant is not None:
                grants.refresh(session, grant, dag, ti, now=now)
            if grant is None or grant.state not in grants.OPENED:
                return _shut_sentence(gate_id, grant)
    return None


def _needed_indexes(session: Session, dag: Any, gate_id: str, ti: TaskInstance) -> list[int]:
    """Return the map indexes of the gate that have to hold a grant for this task."""
    if dag_graph.counts_alone(dag, gate_id, ti.task_id):
        return [ti.map_index]
    of_gate = (TaskInstance.dag_id == ti.dag_id, TaskInstance.run_id == ti.run_id)
    live = session.execute(
        select(TaskInstance.map_index, TaskInstance.state).where(*of_gate, TaskInstance.task_id == gate_id)
    ).all()
    asked = session.scalars(
        select(IntakeRow.map_index).where(
            IntakeRow.dag_id == ti.dag_id, IntakeRow.run_id == ti.run_id, IntakeRow.task_id == gate_id
        )
    )
    # An index that asked and was deleted still needs its approval; one that Airflow itself
    # removed, because a later expansion is shorter, does not.
    removed = {index for index, state in live if state == TaskInstanceState.REMOVED}
    return sorted(({index for index, _ in live} | set(asked)) - removed) or [-1]


def _shut_sentence(gate_id: str, grant: GrantRow | None) -> str:
    if grant is None:
        return f"Not started: gate {gate_id} holds no approval. Clear the gate to ask for one."
    return (
        f"Not started: the approval of gate {gate_id} is no longer good ({grant.ended_because}). "
        "Clear the gate to ask again."
    )


def is_protected(session: Session, conn_id: str) -> bool:
    """Whether a Connection stays shut without a grant, by configuration or active policy."""
    policy = policies.active_policy(session)
    protected = Settings.load().protected_connections | (policy.protected_connections if policy else set())
    return connection_spelling(conn_id) in {connection_spelling(one) for one in protected}


def check_connection(
    session: Session,
    ti_id: str,
    conn_id: str,
    *,
    now: datetime,
    lookup: airflow_seams.Lookup = airflow_seams.connection_parts,
    membership: Callable[[], Membership] = judging.membership_now,
) -> Refusal | None:
    """Open a protected Connection to the one task a usable grant is for, or refuse.

    The caller has asked :func:`is_protected`.

    Processes without a task of their own (DAG processor, triggerer, ``airflow tasks test``)
    present no task instance and are refused, on record.

    :param lookup: gives what identifies the Connection now. Reading it takes a database connection
        of its own, so a server under load reads it before this transaction begins.
    :param membership: gives the groups of the active policy; looked up before as well.
    :raises PolicyReplacedError: when another policy was activated since the groups were asked for.
    """
    ti = airflow_seams.task_instance(session, ti_id)
    locked = airflow_seams.lock_task(session, airflow_seams.place_of(ti)) if ti is not None else None
    if locked is None or str(locked.id) != ti_id or locked.state != TaskInstanceState.RUNNING:
        return strangers.refuse(session, locked, ti_id, conn_id, now=now)
    why = _open_with_grant(session, locked, conn_id, lookup, membership, now=now)
    if why is None:
        return None
    airflow_seams.explain(session, locked, why)
    _enter(session, "credential_refused", locked, why, now=now)
    return Refusal("no_grant", why, 403)


def keep_shut_for_now(session: Session, ti_id: str, error: UnavailableError) -> Refusal:
    """Refuse without deciding anything: the grant stays as it is, and the task may try again."""
    ti = airflow_seams.task_instance(session, ti_id)
    locked = airflow_seams.lock_task(session, airflow_seams.place_of(ti)) if ti is not None else None
    if locked is not None:
        airflow_seams.explain(session, locked, str(error))
    return Refusal("unavailable", str(error), 403)


def withhold(session: Session, ti_id: str, error: UnavailableError, *, now: datetime) -> Refusal:
    """Refuse as :func:`keep_shut_for_now` does, after the hand-out was entered: it did not come to that."""
    refusal = keep_shut_for_now(session, ti_id, error)
    if (ti := airflow_seams.task_instance(session, ti_id)) is not None:
        _enter(session, "credential_refused", ti, refusal.sentence, now=now)
    return refusal


def take_back(session: Session, ti_id: str, conn_id: str, *, now: datetime) -> Refusal:
    """End the approval by which a task would be given a Connection that was edited meanwhile."""
    ti = airflow_seams.task_instance(session, ti_id)
    locked = airflow_seams.lock_task(session, airflow_seams.place_of(ti)) if ti is not None else None
    why = f"Connection {conn_id} stays shut: it was edited while it was being opened."
    if locked is not None:
        for grant in grants.bound_in_run(session, locked.dag_id, locked.run_id):
            if grants.is_bound_to(session, grant, locked) and _opens(grant, conn_id):
                because = "its connection was edited while it was being opened"
                grants.end(session, grant, GrantState.KILLED, because, now=now)
        airflow_seams.explain(session, locked, why)
        _enter(session, "credential_refused", locked, why, now=now)
    return Refusal("no_grant", why, 403)


def _open_with_grant(
    session: Session,
    ti: TaskInstance,
    conn_id: str,
    lookup: airflow_seams.Lookup,
    membership: Callable[[], Membership],
    *,
    now: datetime,
) -> str | None:
    dag = dag_graph.load_dag(session, ti)
    gates = dag_graph.gates_above(dag, ti.task_id) if dag is not None else frozenset()
    if not gates:
        return f"Connection {conn_id} is protected and task {ti.task_id} stands behind no gate."
    candidates = [
        grant for grant in grants.of_run(session, ti.dag_id, ti.run_id, gates) if _opens(grant, conn_id)
    ]
    why = f"Connection {conn_id} is protected and no gate of this run holds an approval for it."
    for grant in sorted(candidates, key=lambda grant: _preference(session, grant, ti)):
        refusal = _use(session, grant, dag, ti, lookup, membership, now=now)
        if refusal is None:
            return None
        why = f"Connection {conn_id} stays shut: {refusal}"
    return why


def _opens(grant: GrantRow, conn_id: str) -> bool:
    """Whether a task may have that Connection by this grant; what the custodian copies, no task opens."""
    claims = json.loads(grant.claims)
    return bool(claims["connection"] == conn_id and claims["assurance"] == Assurance.RUN_BOUND)


def _preference(session: Session, grant: GrantRow, ti: TaskInstance) -> tuple[bool, bool]:
    """Order: the grant bound to this task, then the one of the same map index."""
    return not grants.is_bound_to(session, grant, ti), grant.map_index != ti.map_index


def _use(
    session: Session,
    grant: GrantRow,
    dag: Any,
    ti: TaskInstance,
    lookup: airflow_seams.Lookup,
    membership: Callable[[], Membership],
    *,
    now: datetime,
) -> str | None:
    grants.refresh(session, grant, dag, ti, now=now)
    if grant.state == GrantState.BOUND and not grants.is_bound_to(session, grant, ti):
        return "the approval is bound to another task."
    if grant.state not in grants.USABLE:
        return f"the approval is {grant.state} ({grant.ended_because})."
    if lapse := grants.first_lapse(session, grant, ti, now=now, lookup=lookup):
        because = f"its {lapse} is not what was approved"
        grants.end(session, grant, GrantState.KILLED, because, now=now)
        return f"the approval is void; {because}."
    request = session.get_one(RequestRow, grant.request_id)
    if unsatisfied := retally.still_satisfied(session, request, membership(), now):
        return unsatisfied.sentence
    binding = grants.bind(session, grant, ti, now=now)
    details = {"grant": grant.id, "hand_out": binding.handed_out, "try_number": ti.try_number}
    ledger.append(
        session,
        "credential_handed_out",
        at=now,
        request_id=grant.request_id,
        place=airflow_seams.place_of(ti),
        details=details,
    )
    return None


def _enter(session: Session, kind: str, ti: TaskInstance, why: str, *, now: datetime) -> None:
    details = {"because": why, "try_number": ti.try_number}
    ledger.append(session, kind, at=now, place=airflow_seams.place_of(ti), details=details)
