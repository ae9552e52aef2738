"""What a call that shapes runs has done, as Airflow's answer says: a body only says what was wanted.

A bulk call is answered with 200 though Airflow refuses some of its entities, or all. What it did
stands in ``success``, as ``dag.run.task[index]`` or ``dag.run``; those names may hold dots
themselves, so a text is matched with the entities and never taken apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol

from airflow_approvals.core.models import NO_MAP_INDEX, Place
from airflow_approvals.enforcement.override_calls import (
    Override,
    listed,
    or_whole,
    reaches_far,
    run_of,
    runs_named,
)
from airflow_approvals.store.actors import EVERY_DAG, of_asset_event, of_backfill

#: What was done, and where.
Act = tuple[str, Place]
_METHODS = {"update": "PUT", "delete": "DELETE"}
_ACTS = {"update": "mark", "delete": "delete"}


class May(Protocol):
    """Whether whoever calls may do this (``PUT``, ``DELETE``) to tasks of that DAG."""

    def __call__(self, dag_id: str, method: str) -> bool:
        """Ask Airflow's auth manager."""


def acts_done(override: Override, document: Mapping[str, Any], answer: Any, may: May) -> set[Act]:
    """Return what a call did that Airflow has answered with success.

    :param may: asked only where one text of Airflow's answer fits entities of several runs.
    """
    if override.act == "mark" and "actions" in document:
        return set(_in_bulk(override, document, answer, may))
    if override.act == "feed":
        event = answer.get("id") if isinstance(answer, Mapping) else None
        return {("feed", of_asset_event(event))} if isinstance(event, int) else set()
    if override.act == "start":
        return {("start", place) for place in _started(answer)}
    return {(override.act, place) for place in _places(override, document, answer)}


def _started(answer: Any) -> Iterator[Place]:
    """Yield the run that a call has started, or the backfill that will make runs."""
    if not isinstance(answer, Mapping):
        return
    dag_id, run_id, number = (answer.get(name) for name in ("dag_id", "dag_run_id", "id"))
    if isinstance(dag_id, str) and isinstance(run_id, str):
        yield Place(dag_id, run_id, "")
    elif isinstance(number, int):
        yield of_backfill(number)


def _places(override: Override, document: Mapping[str, Any], answer: Any) -> Iterator[Place]:
    if override.act == "clear":
        yield from _cleared(override, document, answer)
    elif override.act == "unpause" and override.dag_id == EVERY_DAG:
        yield from _unpaused(answer)
    else:
        yield Place(override.dag_id, override.run_id or "", override.task_id or "", override.map_index)
        yield from touched(override, answer)
        if override.act == "mark" and reaches_far(document):
            yield Place(override.dag_id, "", "")


def _cleared(override: Override, document: Mapping[str, Any], answer: Any) -> Iterator[Place]:
    if isinstance(answer, Mapping) and not {"task_instances", "dag_runs"}.isdisjoint(answer):
        yield from touched(override, answer)
    else:
        for dag_id, run_id in runs_named(override, document):
            yield Place(dag_id, run_id, "")


def _unpaused(answer: Any) -> Iterator[Place]:
    """Airflow unpauses every DAG that fits, and names those of one page."""
    named = [str(dag.get("dag_id")) for dag in listed(answer, "dags") if isinstance(dag, Mapping)]
    yield from (Place(dag_id, "", "") for dag_id in named)
    total = answer.get("total_entries") if isinstance(answer, Mapping) else None
    if total != len(named):
        yield Place(EVERY_DAG, "", "")


def touched(override: Override, answer: Any) -> Iterator[Place]:
    """Yield the tasks and runs that an answer shows."""
    for one in (*listed(answer, "task_instances"), *listed(answer, "dag_runs")):
        dag_id, run_id = run_of(override, one)
        if isinstance(one, Mapping) and run_id:
            yield Place(dag_id, run_id, str(one.get("task_id") or ""), or_whole(one.get("map_index")))


def _in_bulk(override: Override, document: Mapping[str, Any], answer: Any, may: May) -> Iterator[Act]:
    for action in listed(document, "actions"):
        name = action.get("action") if isinstance(action, Mapping) else None
        if not isinstance(name, str) or name not in _ACTS or not isinstance(answer, Mapping):
            continue
        success = [str(text) for text in listed(answer.get(name), "success")]
        done = _runs_in(success) if override.run_id is None else _tasks_in(success)
        entities = [one for one in listed(action, "entities") if _changes_something(name, one)]
        for place, far in _believed(override, entities, done, partial(may, method=_METHODS[name])):
            yield _ACTS[name], place
            if far:
                yield _ACTS[name], Place(place.dag_id, "", "")


def _changes_something(action: str, entity: Any) -> bool:
    """Whether it is more than a note."""
    return action == "delete" or (
        isinstance(entity, Mapping) and not {"new_state", "state"}.isdisjoint(entity)
    )


def _runs_in(success: list[str]) -> dict[str, set[int]]:
    return {text: {NO_MAP_INDEX} for text in success}


def _tasks_in(success: list[str]) -> dict[str, set[int]]:
    """Return the map indexes by ``dag.run.task``."""
    found: dict[str, set[int]] = {}
    for text in success:
        name, _, index = text.rpartition("[")
        found.setdefault(name, set()).add(or_whole(index.removesuffix("]")))
    return found


def _believed(
    override: Override, entities: list[Any], done: Mapping[str, set[int]], may: Callable[[str], bool]
) -> Iterator[tuple[Place, bool]]:
    """Yield what Airflow says it did, each with whether it went on into other runs."""
    by_name: dict[str, list[tuple[Place, int | None, bool]]] = {}
    for entity in entities:
        place, index = _named_by(override, entity)
        name = f"{place.dag_id}.{place.run_id}" + (f".{place.task_id}" if place.task_id else "")
        far = isinstance(entity, Mapping) and reaches_far(entity)
        by_name.setdefault(name, []).append((place, index, far))
    for name, claims in by_name.items():
        one_meaning = len({(place.dag_id, place.run_id) for place, _, _ in claims}) == 1
        for place, index, far in claims:
            if name in done and (one_meaning or may(place.dag_id)):
                indexes = done[name] if index is None else done[name] & {index}
                yield from ((Place(*_key(place), at), far) for at in indexes)


def _named_by(override: Override, entity: Any) -> tuple[Place, int | None]:
    """Return where an entity is, and its index when it names one."""
    dag_id, run_id = run_of(override, entity)
    if override.run_id is None:
        return Place(dag_id, run_id, ""), None
    if isinstance(entity, Mapping):
        index = entity.get("map_index")
        wanted = None if index is None else or_whole(index)
        return Place(dag_id, run_id, str(entity.get("task_id") or "")), wanted
    return Place(dag_id, run_id, str(entity)), None


def _key(place: Place) -> tuple[str, str, str]:
    return place.dag_id, place.run_id, place.task_id
