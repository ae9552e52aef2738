"""Overrides: marking, clearing and deleting in a gated run, by hand and through Airflow's API.

They release nothing (the start ring sees to that), but they shape the run: whoever does it
joins the requester set, and the ledger says who, what and where.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control import airflow_seams, dag_graph, grants, settlement
from airflow_approvals.control.airflow_seams import lock_gate
from airflow_approvals.core.models import Channel, Person, Place, RequestState
from airflow_approvals.store import ledger
from airflow_approvals.store.session import run_read, run_transaction
from airflow_approvals.store.tables import ActorRow, IntakeRow, RequestRow

_DAG = r"/api/v2/dags/(?P<dag>[^/]+)"
_RUN = _DAG + r"/dagRuns/(?P<run>[^/]+)"
#: (method, path) of Airflow's public API -> what it does. Paths that end in ``dry_run`` match none.
_ROUTES: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (method, re.compile(pattern + r"/?$"), act)
    for method, pattern, act in (
        ("PATCH", _RUN + r"/taskInstances", "mark"),
        ("PATCH", _RUN + r"/taskInstances/(?P<task>[^/]+)", "mark"),
        ("PATCH", _RUN + r"/taskInstances/(?P<task>[^/]+)/(?P<index>[^/]+)", "mark"),
        ("PATCH", _RUN + r"/taskGroupInstances/(?P<group>[^/]+)", "mark"),
        ("PATCH", _DAG + r"/dagRuns", "mark"),
        ("PATCH", _RUN, "mark"),
        ("DELETE", _RUN + r"/taskInstances/(?P<task>[^/]+)", "delete"),
        ("DELETE", _RUN, "delete"),
        ("DELETE", _DAG, "delete"),
        ("POST", _DAG + r"/clearTaskInstances", "clear"),
        ("POST", _RUN + r"/clear", "clear"),
        ("POST", _DAG + r"/clearDagRuns", "clear"),
        ("POST", _DAG + r"/clearPartitions", "clear"),
    )
)


@dataclass(frozen=True)
class Override:
    """What a call to Airflow's API is about, as far as its path says."""

    act: str
    dag_id: str
    run_id: str | None
    task_id: str | None
    map_index: int


def recognise(method: str, path: str) -> Override | None:
    """Return what the call overrides, or ``None`` when it is of another kind."""
    for wanted, pattern, act in _ROUTES:
        match = pattern.search(path) if method == wanted else None
        if match is None:
            continue
        found = match.groupdict()
        index = parse_index(found.get("index") or "-1")
        if index is not None:
            task = found.get("task") or found.get("group")
            return Override(act, found["dag"], found.get("run"), task, index)
    return None


_INTEGER = TypeAdapter(int)
_BOOLEAN = TypeAdapter(bool)


def parse_index(text: object) -> int | None:
    """Return a map index as Airflow's API reads it (``-1.0`` and `` -1`` are -1 there too)."""
    try:
        return _INTEGER.validate_python(text)
    except ValidationError:
        return None


def keep(override: Override, person: Person, channel: Channel, body: Any, answer: Any) -> None:
    """Record a successful override of a gated run, and close requests whose gate it took away.

    :param body: the JSON body of the call; :param answer: the JSON body of Airflow's answer.
    """
    if isinstance(body, Mapping) and _changes_nothing(override, body):
        return
    # A body that could not be read was good enough for Airflow: then the path says what it says.
    document = body if isinstance(body, Mapping) else {}
    run_id = override.run_id if override.run_id not in (None, "~") else ""
    found = set(_places(override, document, answer)) or {Place(override.dag_id, run_id or "", "")}
    places = sorted(found, key=str)
    run_transaction(lambda session: _record(session, override, person, channel, places, document))
    for dag_id, run_id in sorted({(place.dag_id, place.run_id) for place in places}):
        _close_pending(dag_id, run_id)


def _close_pending(dag_id: str, run_id: str) -> None:
    for request_id in run_read(partial(_pending, dag_id=dag_id, run_id=run_id)):
        run_transaction(partial(_close, request_id=request_id))


def _changes_nothing(override: Override, document: Mapping[str, Any]) -> bool:
    """Whether it is a rehearsal, or sets a note only; bulk calls carry actions instead of one state."""
    if override.act == "clear":
        return _is_true(document.get("dry_run", True))
    if override.act == "mark":
        return not any(key in document for key in ("new_state", "state", "actions"))
    return False


def _is_true(value: object) -> bool:
    """Whether Airflow's API reads the value as true (``"false"`` is false there)."""
    try:
        return _BOOLEAN.validate_python(value)
    except ValidationError:
        return False


def _places(override: Override, document: Mapping[str, Any], answer: Any) -> Iterator[Place]:
    """Yield every task that the call names, and every one that Airflow says it touched."""
    run = override.run_id or document.get("dag_run_id") or document.get("run_id")
    entities = list(_entities(document))
    if isinstance(run, str) and run != "~":
        if override.task_id or not entities:
            yield Place(override.dag_id, run, override.task_id or "", override.map_index)
        for task in _listed(document, "task_ids"):
            name, index = task if isinstance(task, list) and len(task) == 2 else (task, -1)
            yield Place(override.dag_id, run, str(name), _or_whole(index))
    for entity in (*_listed(document, "dag_runs"), *entities):
        yield from _named(override, entity)
    for touched in (*_listed(answer, "task_instances"), *_listed(answer, "dag_runs")):
        yield from _named(override, touched)


def _or_whole(index: object) -> int:
    parsed = parse_index(index)
    return -1 if parsed is None else parsed


def _listed(document: Any, name: str) -> list[Any]:
    found = document.get(name) if isinstance(document, Mapping) else None
    return found if isinstance(found, list) else []


def _entities(document: Mapping[str, Any]) -> Iterator[Any]:
    for action in _listed(document, "actions"):
        yield from _listed(action, "entities")


def _named(override: Override, entity: Any) -> Iterator[Place]:
    if isinstance(entity, str):
        yield Place(override.dag_id, override.run_id or entity, "" if override.run_id is None else entity, -1)
    elif isinstance(entity, Mapping):
        run = entity.get("dag_run_id") or override.run_id
        index = entity.get("map_index")
        if isinstance(run, str) and run != "~":
            dag_id = str(entity.get("dag_id") or override.dag_id)
            task = str(entity.get("task_id") or "")
            yield Place(dag_id, run, task, index if isinstance(index, int) else -1)


def _record(
    session: Session,
    override: Override,
    person: Person,
    channel: Channel | None,
    places: list[Place],
    document: Mapping[str, Any],
) -> None:
    now = datetime.now(UTC)
    state = document.get("new_state") or document.get("state") or ""
    deletes = any(
        isinstance(a, Mapping) and a.get("action") == "delete" for a in _listed(document, "actions")
    )
    act = "delete" if deletes else override.act
    for dag_id, run_id in sorted({(place.dag_id, place.run_id) for place in places}):
        grants.lock_run(session, Place(dag_id, run_id, ""))
    for place in places:
        if not is_gated(session, place):
            continue
        session.add(
            ActorRow(
                dag_id=place.dag_id,
                run_id=place.run_id,
                task_id=place.task_id,
                map_index=place.map_index,
                person_id=person.id,
                person_name=person.name,
                act=act,
                at=now,
            )
        )
        if act == "delete":
            # A deleted task starts again as if it had never run, so the grant has to end here.
            grants.end_for_delete(session, place, now=now)
        details = {"act": act, "state": str(state), "name": person.name}
        ledger.append(
            session, "run_overridden", at=now, actor=person.id, channel=channel, place=place, details=details
        )


def keep_clear_by_task(session: Session, ti_id: str, place: Place) -> None:
    """Record that a task of some run clears this run: whoever triggered that one shapes this one."""
    ti = airflow_seams.task_instance(session, ti_id)
    if ti is None:
        return
    by_task = f"task {ti.task_id} of {ti.dag_id}"
    person = airflow_seams.triggering_user(session, ti.dag_id, ti.run_id) or by_task
    override = Override("clear", place.dag_id, place.run_id, None, -1)
    _record(session, override, Person(person, person), None, [place], {"state": by_task})


def is_gated(session: Session, place: Place) -> bool:
    """Whether the run has a gate: one has asked in it, or its DAG has one."""
    asked = select(IntakeRow.id).where(IntakeRow.dag_id == place.dag_id, IntakeRow.run_id == place.run_id)
    if session.scalar(asked.limit(1)) is not None:
        return True
    dag = dag_graph.latest_dag(session, place.dag_id)
    return dag is not None and dag_graph.dag_has_gate(dag)


def _pending(session: Session, *, dag_id: str, run_id: str) -> list[str]:
    found = select(RequestRow.id).where(
        RequestRow.dag_id == dag_id, RequestRow.run_id == run_id, RequestRow.state == RequestState.PENDING
    )
    return list(session.scalars(found))


def _close(session: Session, *, request_id: str) -> None:
    request = session.get_one(RequestRow, request_id)
    parked = lock_gate(session, request.place)
    session.refresh(request, with_for_update=True)
    grants.lock_run(session, request.place)
    settlement.close_if_due(session, parked, request, now=datetime.now(UTC))
