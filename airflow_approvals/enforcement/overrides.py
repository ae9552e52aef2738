"""Overrides: marking, clearing, deleting and editing in a run, by hand and through Airflow's API.

They release nothing (the start ring sees to that), but they shape the run: whoever does it joins
its requester set, and the ledger says who, what and where.

1. Before Airflow is asked, the person is written down for every run that the call names: an
   *intent*, which the requester set counts. What cannot be written down is not done.
2. Once Airflow has done it, what it says it did takes the intent's place. When Airflow refused, the
   intent is taken back; when nobody knows (a server that died, a 5xx), it stays.

A run without a gate may feed or trigger one that has a gate, so people are kept for every run; the
ledger tells of gated ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control import clears, grants, settlement
from airflow_approvals.core.models import Channel, Person, Place, RequestState
from airflow_approvals.enforcement.override_answers import Act, May, acts_done, touched
from airflow_approvals.enforcement.override_calls import (
    Override,
    changes_nothing,
    is_true,
    listed,
    runs_named,
    with_body,
)
from airflow_approvals.seams import airflow_seams_people, dag_graph
from airflow_approvals.seams.airflow_seams import lock_gate
from airflow_approvals.store import actors, ledger
from airflow_approvals.store.actors import EVERY_DAG, RunKey
from airflow_approvals.store.session import run_read, run_transaction
from airflow_approvals.store.tables import GrantRow, IntakeRow, RequestRow


@dataclass(frozen=True)
class Intent:
    """Who is about to override what: the rows that say so, and which of the runs were gated then."""

    rows: tuple[int, ...] = ()
    gated: frozenset[RunKey] = frozenset()


def begin(override: Override, person: Person, body: Any) -> Intent | None:
    """Write down who is about to do it, in a transaction of its own.

    :param body: the JSON body of the call.
    :returns: ``None`` for a rehearsal and the like.
    """
    document = _document(body)
    if changes_nothing(override, document):
        return None
    if override.act == "start":
        # There is no run yet, and starting one does not wait for our tables.
        return Intent()
    return run_transaction(lambda session: _intend(session, with_body(override, body), person, document))


def take_back(intent: Intent) -> None:
    """Forget an intent that Airflow has refused."""
    run_transaction(lambda session: actors.forget(session, intent.rows))


def keep(
    override: Override,
    person: Person,
    channel: Channel,
    body: Any,
    answer: Any,
    *,
    intent: Intent = Intent(),
    may: May = lambda dag_id, method: True,
) -> None:
    """Record what Airflow has done, in place of the intent; close requests whose gate it took away.

    :param body: the JSON body of the call; :param answer: the JSON body of Airflow's answer.
    :param may: see :func:`~airflow_approvals.enforcement.override_answers.acts_done`.
    """
    document = _document(body)
    if changes_nothing(override, document):
        return
    done = sorted(acts_done(override, document, answer, may), key=str)
    if override.act == "start":
        # Nothing is overridden: only the id is kept of whom Airflow remembers by a name that can be changed.
        run_transaction(lambda session: _start(session, person, done))
        return
    state = str(document.get("new_state") or document.get("state") or "")
    by = _By(person, channel, state)
    run_transaction(lambda session: _complete(session, override, by, done, intent))
    places = [place for _, place in done]
    if override.act == "clear":
        cleared = sorted(_cleared(override, places, document, answer), key=str)
        run_transaction(lambda session: _end_cleared(session, cleared))
    for dag_id, run_id in sorted({(place.dag_id, place.run_id) for place in places}):
        _close_pending(dag_id, run_id)


def _start(session: Session, person: Person, done: list[Act]) -> None:
    actors.add(session, [place for _, place in done], person, "start", at=datetime.now(UTC))


@dataclass(frozen=True)
class _By:
    person: Person
    channel: Channel | None
    state: str


def _document(body: Any) -> Mapping[str, Any]:
    # A body that could not be read was good enough for Airflow: then the path says what it says.
    return body if isinstance(body, Mapping) else {}


def _intend(session: Session, override: Override, person: Person, document: Mapping[str, Any]) -> Intent:
    places = sorted(_intended(session, override, document), key=str)
    rows = actors.add(session, places, person, override.act, at=datetime.now(UTC))
    # Afterwards nothing may be left to tell by.
    deletes = override.act == "delete" or any(
        isinstance(action, Mapping) and action.get("action") == "delete"
        for action in listed(document, "actions")
    )
    runs = {(place.dag_id, place.run_id) for place in places} if deletes else set()
    return Intent(tuple(rows), frozenset(run for run in runs if is_gated(session, Place(*run, ""))))


def _intended(session: Session, override: Override, document: Mapping[str, Any]) -> set[Place]:
    if override.act == "feed":
        return {actors.of_call_on_asset(override.asset_id)} if override.asset_id is not None else set()
    if override.asset_id is not None:
        return _readers(session, override.asset_id)
    return {Place(dag_id, run_id, "") for dag_id, run_id in runs_named(override, document)}


def _readers(session: Session, asset_id: int) -> set[Place]:
    """Return the DAGs whose tasks may read what is stored with an asset."""
    return {Place(dag_id, "", "") for dag_id in airflow_seams_people.dags_of_asset(session, asset_id)}


def _complete(session: Session, override: Override, by: _By, done: list[Act], intent: Intent) -> None:
    if override.asset_id is not None and override.act == "edit":
        done = [("edit", place) for place in sorted(_readers(session, override.asset_id), key=str)]
    record(session, by.person, by.channel, by.state, done, gated=intent.gated)
    actors.forget(session, intent.rows)


def record(
    session: Session,
    person: Person,
    channel: Channel | None,
    state: str,
    done: list[Act],
    *,
    gated: Collection[RunKey] = (),
) -> None:
    """Write down what somebody did; where there is a gate, in the ledger too.

    :param state: to which state tasks were set, or by which task it was done.
    :param gated: runs that are known to be gated.
    """
    now = datetime.now(UTC)
    for act in sorted({act for act, _ in done}):
        actors.add(session, [place for name, place in done if name == act], person, act, at=now)
    runs = {(place.dag_id, place.run_id) for _, place in done}
    watched = {run for run in sorted(runs) if run in gated or is_gated(session, Place(*run, ""))}
    gone = {run for act, place in done if act == "delete" for run in _runs_deleted(session, place)}
    lock(session, watched | gone)
    for dag_id, run_id in sorted(gone):
        grants.end_for_delete(session, Place(dag_id, run_id, ""), now=now)
    for act, place in done:
        if (place.dag_id, place.run_id) in watched:
            enter(session, person, channel, state, act, place, now=now)


def _runs_deleted(session: Session, place: Place) -> set[RunKey]:
    """Return the runs with approvals that went with their DAG; a run of the same name may come again."""
    if place.run_id:
        return set()
    found = select(GrantRow.run_id).where(GrantRow.dag_id == place.dag_id)
    return {(place.dag_id, run_id) for run_id in session.scalars(found)}


def enter(
    session: Session,
    person: Person,
    channel: Channel | None,
    state: str,
    act: str,
    place: Place,
    *,
    now: datetime,
) -> None:
    """Enter one override into the ledger; the caller has locked the run's grants."""
    if act == "delete":
        # A deleted task starts again as if it had never run, so the grant has to end here.
        grants.end_for_delete(session, place, now=now)
    details = {"act": act, "state": state, "name": person.name}
    ledger.append(
        session, "run_overridden", at=now, actor=person.id, channel=channel, place=place, details=details
    )


def lock(session: Session, runs: Iterable[RunKey]) -> None:
    """Lock the grants of runs, always in the same order."""
    for dag_id, run_id in sorted(runs):
        grants.lock_run(session, Place(dag_id, run_id, ""))


def _end_cleared(session: Session, places: list[Place]) -> None:
    """Kill the approvals of gates that were cleared: one that was at work looks as if it were retried."""
    lock(session, {(place.dag_id, place.run_id) for place in places})
    for place in places:
        clears.end_for_clear(session, place, now=datetime.now(UTC))


def _cleared(override: Override, places: list[Place], document: Mapping[str, Any], answer: Any) -> set[Place]:
    """Return the tasks that were cleared, or the runs that were cleared whole."""
    if isinstance(answer, Mapping) and "task_instances" in answer:
        return {place for place in touched(override, answer) if place.task_id}
    # Then a gate that is at work is not cleared.
    spared = is_true(document.get("only_failed")) or is_true(document.get("only_new"))
    return set() if spared else set(places)


def is_gated(session: Session, place: Place) -> bool:
    """Whether the run has a gate: one has asked in it, or a version of the DAG that it runs by has one.

    :param place: without a run, the DAG.
    """
    if place.dag_id == EVERY_DAG:
        return True
    asked = select(IntakeRow.id).where(IntakeRow.dag_id == place.dag_id)
    if place.run_id:
        asked = asked.where(IntakeRow.run_id == place.run_id)
    if session.scalar(asked.limit(1)) is not None:
        return True
    dags = dag_graph.dags_of_run(session, place.dag_id, place.run_id)
    return any(dag_graph.dag_has_gate(dag) for dag in dags)


def _close_pending(dag_id: str, run_id: str) -> None:
    for request_id in run_read(partial(_pending, dag_id=dag_id, run_id=run_id)):
        run_transaction(partial(_close, request_id=request_id))


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
