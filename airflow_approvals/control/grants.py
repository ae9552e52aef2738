"""The life of a grant: issued, bound, spent; or expired, or killed.

1. *live*: issued, nobody has used it. *bound*: one task opened the sink's connection with it.
2. *spent*: the server has seen that task through (success or skipped).
3. *expired*: its time ran out before. *killed*: what it was issued for is no longer so.
4. A retry of the bound task, or clearing it after a failure, may use the grant again; clearing
   the gate, a task between, or the release after its success kills it.
5. Every claim is checked at every use; the first that no longer holds kills the grant.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from airflow.models.taskinstance import TaskInstance
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control import announcements, signing_key
from airflow_approvals.core.grant import Claims, Observed, first_difference
from airflow_approvals.core.models import NO_MAP_INDEX, GrantState, Place
from airflow_approvals.errors import ContractError
from airflow_approvals.seams import airflow_seams, airflow_seams_code, dag_graph
from airflow_approvals.store import ledger, policies
from airflow_approvals.store.tables import BindingRow, GrantRow, RequestRow

USABLE = (GrantState.LIVE, GrantState.BOUND)
#: With a grant in one of these states, what stands behind the gate may start.
OPENED = (GrantState.LIVE, GrantState.BOUND, GrantState.SPENT, GrantState.EXPIRED)


def remember_path(session: Session, grant: GrantRow, consumers: tuple[str, ...]) -> None:
    """Store ``max_tries`` of the gate and of what stands behind it, as they are after the resume."""
    tries = airflow_seams.max_tries_of(session, grant.dag_id, grant.run_id)
    gate = (grant.task_id, grant.map_index)
    grant.path_tries = json.dumps(
        [[*key, count] for key, count in sorted(tries.items()) if key == gate or key[0] in consumers]
    )


def count_resume(session: Session, place: Place) -> None:
    """Let grants of gates further up know that this gate was resumed, which raised its ``max_tries``."""
    found = select(GrantRow).where(GrantRow.dag_id == place.dag_id, GrantRow.run_id == place.run_id)
    for grant in session.scalars(found.order_by(GrantRow.issued_at).with_for_update()):
        tries = {(task, index): count for task, index, count in json.loads(grant.path_tries)}
        # A gate that was mapped after that approval was recorded before it had indexes.
        before = tries.get((place.task_id, place.map_index), tries.get((place.task_id, NO_MAP_INDEX)))
        if before is not None:
            tries[place.task_id, place.map_index] = before + 1
            grant.path_tries = json.dumps([[*key, count] for key, count in sorted(tries.items())])


def of_gate(session: Session, place: Place) -> GrantRow | None:
    """Return the newest grant of a gate, locked."""
    return session.scalar(
        select(GrantRow)
        .where(
            GrantRow.dag_id == place.dag_id,
            GrantRow.run_id == place.run_id,
            GrantRow.task_id == place.task_id,
            GrantRow.map_index == place.map_index,
        )
        .order_by(GrantRow.issued_at.desc())
        .limit(1)
        .with_for_update()
        .execution_options(populate_existing=True)
    )


def of_run(session: Session, dag_id: str, run_id: str, task_ids: frozenset[str]) -> list[GrantRow]:
    """Return all grants of the named gates of a run, oldest first, locked."""
    found = (
        select(GrantRow)
        .where(GrantRow.dag_id == dag_id, GrantRow.run_id == run_id, GrantRow.task_id.in_(task_ids))
        .order_by(GrantRow.issued_at)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return list(session.scalars(found))


def refresh(session: Session, grant: GrantRow, dag: Any, ti: TaskInstance | None, *, now: datetime) -> None:
    """Bring the state up to date: expiry, a bound task that was seen through, a cleared path."""
    binding = session.get(BindingRow, grant.id)
    if grant.state == GrantState.BOUND and binding is not None:
        bound = Place(grant.dag_id, grant.run_id, binding.task_id, binding.map_index)
        if airflow_seams.was_seen_through(session, bound, binding.first_try):
            end(session, grant, GrantState.SPENT, "the bound task was seen through", now=now)
    if grant.state in USABLE and grant.not_after <= now:
        end(session, grant, GrantState.EXPIRED, "its time ran out", now=now)
    # It may have run out while the bound task was still at work, which then succeeded.
    if grant.state in (GrantState.SPENT, GrantState.EXPIRED) and binding is not None:
        bound = Place(grant.dag_id, grant.run_id, binding.task_id, binding.map_index)
        undone = airflow_seams.was_replaced_after_success(session, bound, binding.first_try)
        # Marked failed first and cleared then, the task leaves no success in the history.
        spent = grant.state == GrantState.SPENT
        if undone or (spent and not airflow_seams.stands_as_done(session, bound, binding.first_try)):
            because = f"task {binding.task_id} was cleared or marked after it had succeeded"
            end(session, grant, GrantState.KILLED, because, now=now)
    if grant.state in OPENED and (cleared := _cleared(session, grant, binding, dag, ti)):
        end(session, grant, GrantState.KILLED, f"{cleared} was cleared after the approval", now=now)


def first_lapse(
    session: Session,
    grant: GrantRow,
    ti: TaskInstance,
    *,
    now: datetime,
    lookup: airflow_seams.Lookup = airflow_seams.connection_parts,
) -> str | None:
    """Return the first claim that no longer holds for this task's use of the grant.

    :param lookup: gives what identifies the Connection now.
    """
    claims = Claims.from_document(json.loads(grant.claims))
    if not _is_signed(grant, claims):
        return "signature"
    parts = lookup(claims.connection)
    active = policies.active_policy(session)
    request = session.get(RequestRow, grant.request_id)
    observed = Observed(
        manifest=request.manifest_digest if request else "",
        sink=request.sink if request else "",
        connection=_connection_of(active, claims.sink),
        fingerprint=signing_key.load().fingerprint(parts) if parts else "",
        action=request.action if request else "",
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=grant.task_id,
        map_index=grant.map_index,
        dag_hash=airflow_seams.dag_hash(session, ti),
        source_hash=airflow_seams_code.source_hash(session, ti),
        bundle_version=airflow_seams.dag_version(session, ti)[1],
        policy=active.digest if active else "",
        now=int(now.timestamp()),
    )
    return first_difference(claims, observed)


def _is_signed(grant: GrantRow, claims: Claims) -> bool:
    # By these ids it is bound, spent and counted again.
    if (claims.grant, claims.request) != (grant.id, grant.request_id):
        return False
    try:
        return signing_key.load().verify(grant.jws) == claims.to_document()
    except ContractError:
        # Signed with a key that has been replaced, or not by us at all.
        return False


def lock_run(session: Session, place: Place) -> None:
    """Lock the grants of a run; whoever will write to the ledger and to a grant does this first."""
    session.execute(
        select(GrantRow.id)
        .where(GrantRow.dag_id == place.dag_id, GrantRow.run_id == place.run_id)
        .order_by(GrantRow.issued_at)
        .with_for_update()
    )


def bind(session: Session, grant: GrantRow, ti: TaskInstance, *, now: datetime) -> BindingRow:
    """Bind a live grant to the task, or count one more hand-out to the task it is bound to."""
    binding = session.get(BindingRow, grant.id, with_for_update=True)
    if binding is None:
        binding = BindingRow(
            grant_id=grant.id,
            task_id=ti.task_id,
            map_index=ti.map_index,
            first_try=ti.try_number,
            bound_at=now,
            handed_out=0,
        )
        session.add(binding)
        grant.state = GrantState.BOUND
        enter(session, "grant_bound", grant, at=now, details=_task(ti))
    binding.handed_out += 1
    session.flush()
    return binding


def is_bound_to(session: Session, grant: GrantRow, ti: TaskInstance) -> bool:
    """Whether this is the one task the grant is bound to."""
    binding = session.get(BindingRow, grant.id)
    return binding is not None and (binding.task_id, binding.map_index) == (ti.task_id, ti.map_index)


def end(
    session: Session, grant: GrantRow, state: GrantState, because: str, *, now: datetime, tell: bool = True
) -> None:
    """End a grant and enter why; ``tell`` is for callers that tell of it themselves."""
    grant.state = state
    grant.ended_at = now
    grant.ended_because = because
    enter(session, f"grant_{state.value}", grant, at=now, details={"because": because})
    if tell and (told := announcements.OF_GRANTS.get(state)) is not None:
        event, words = told
        request = session.get_one(RequestRow, grant.request_id)
        sentence = f"{words}: {because.rstrip('.')}."
        announcements.announce(session, request, event, sentence=sentence, now=now)


def end_for_delete(session: Session, place: Place, *, now: datetime) -> None:
    """Kill the grants of a run whose gate, or a task behind it, was deleted.

    Spent and expired ones too: they would open the start ring to a run that is made anew by that id.
    """
    found = (
        select(GrantRow)
        .where(GrantRow.dag_id == place.dag_id, GrantRow.run_id == place.run_id, GrantRow.state.in_(OPENED))
        .order_by(GrantRow.issued_at)
        .with_for_update()
    )
    for grant in list(session.scalars(found)):
        if place.task_id == grant.task_id and NO_MAP_INDEX != place.map_index != grant.map_index:
            continue  # another gate of the same mapped task
        watched = {task for task, _, _ in json.loads(grant.path_tries)} | {grant.task_id}
        if not place.task_id or place.task_id in watched:
            because = f"task {place.task_id} was deleted" if place.task_id else "the run was deleted"
            end(session, grant, GrantState.KILLED, because, now=now)


def _cleared(
    session: Session, grant: GrantRow, binding: BindingRow | None, dag: Any, ti: TaskInstance | None
) -> str | None:
    """Return the gate or a task between it and the user of the grant that was cleared."""
    user = binding.task_id if binding is not None else (ti.task_id if ti is not None else None)
    watched = {grant.task_id}
    if dag is not None and user is not None and user in dag.task_dict:
        watched |= dag_graph.tasks_between(dag, grant.task_id, user)
    recorded = {(task, index): count for task, index, count in json.loads(grant.path_tries)}
    for (task, index), count in airflow_seams.max_tries_of(session, grant.dag_id, grant.run_id).items():
        # A task that was mapped after the approval was recorded before it had indexes.
        before = recorded.get((task, index), recorded.get((task, NO_MAP_INDEX)))
        if task in watched and before is not None and before != count:
            return f"task {task}"
    return None


def _connection_of(policy: Any, sink_id: str) -> str:
    sink = policy.sinks.get(sink_id) if policy is not None else None
    return sink.connection if sink is not None else ""


def _task(ti: TaskInstance) -> dict[str, Any]:
    return {"task_id": ti.task_id, "map_index": ti.map_index, "try_number": ti.try_number}


def enter(session: Session, kind: str, grant: GrantRow, *, at: datetime, details: dict[str, Any]) -> None:
    """Enter what happens to a grant."""
    ledger.append(
        session,
        kind,
        at=at,
        request_id=grant.request_id,
        place=grant.place,
        details={"grant": grant.id, **details},
    )


def any_bound(session: Session, dag_id: str, run_id: str) -> bool:
    """Whether the run has a bound grant."""
    found = select(GrantRow.id).where(
        GrantRow.dag_id == dag_id, GrantRow.run_id == run_id, GrantRow.state == GrantState.BOUND
    )
    return session.scalar(found.limit(1)) is not None


def bound_in_run(session: Session, dag_id: str, run_id: str) -> list[GrantRow]:
    """Return the bound grants of a run, locked."""
    found = (
        select(GrantRow)
        .where(GrantRow.dag_id == dag_id, GrantRow.run_id == run_id, GrantRow.state == GrantState.BOUND)
        .order_by(GrantRow.issued_at)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return list(session.scalars(found))
