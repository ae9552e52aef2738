"""Calls of Airflow's public API that shape runs, and which runs each of them names.

Airflow validates with pydantic, which takes ``"5"`` for 5 and ``"off"`` for false; whatever is
read here is read the same way, or another spelling would be a way around.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import QueryParams

from airflow_approvals.store.actors import EVERY_DAG, RunKey, is_name

_DAG = r"/api/v2/dags/(?P<dag>[^/]+)"
_RUN = _DAG + r"/dagRuns/(?P<run>[^/]+)"
_TASK = _RUN + r"/taskInstances/(?P<task>[^/]+)"
_STORE = r"/api/v2/assets/(?P<asset>[^/]+)/state-store(/.*)?"
#: (method, path) of Airflow's public API -> what it does. Paths that end in ``dry_run`` match none.
_ROUTES: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (method, re.compile(pattern + r"/?$", re.DOTALL), act)
    for method, pattern, act in (
        ("PATCH", _RUN + r"/taskInstances", "mark"),
        ("PATCH", _TASK, "mark"),
        ("PATCH", _TASK + r"/(?P<index>[^/]+)", "mark"),
        ("PATCH", _RUN + r"/taskGroupInstances/(?P<group>[^/]+)", "mark"),
        ("PATCH", _DAG + r"/dagRuns", "mark"),
        ("PATCH", _RUN, "mark"),
        ("DELETE", _TASK, "delete"),
        ("DELETE", _RUN, "delete"),
        ("DELETE", _DAG, "delete"),
        ("POST", _DAG + r"/clearTaskInstances", "clear"),
        ("POST", _RUN + r"/clear", "clear"),
        ("POST", _DAG + r"/clearDagRuns", "clear"),
        ("POST", _DAG + r"/clearPartitions", "clear"),
        ("PATCH", _DAG, "unpause"),
        ("PATCH", r"/api/v2/dags", "unpause"),
        ("POST", _TASK + r"/xcomEntries", "edit"),
        ("PATCH", _TASK + r"/xcomEntries/.+", "edit"),
        ("DELETE", _TASK + r"/xcomEntries/.+", "edit"),
        ("PUT", _TASK + r"/state-store/.+", "edit"),
        ("PATCH", _TASK + r"/state-store/.+", "edit"),
        ("DELETE", _TASK + r"/state-store(/.*)?", "edit"),
        # An answer to a gate never comes this far; these are other people's questions.
        ("PATCH", _TASK + r"/(?P<index>[^/]+)/hitlDetails", "edit"),
        ("PUT", _STORE, "edit"),
        ("DELETE", _STORE, "edit"),
        ("POST", r"/api/v2/assets/events", "feed"),
        ("POST", _DAG + r"/dagRuns", "start"),
        ("POST", r"/api/v2/assets/(?P<asset>[^/]+)/materialize", "start"),
        ("POST", r"/api/v2/backfills", "start"),
    )
)
#: A call that names more runs is held to name all of their DAGs until Airflow has answered it.
MOST_NAMED = 1000


@dataclass(frozen=True)
class Override:
    """What a call to Airflow's API is about, as far as its path and query say.

    ``dag_id`` is empty for an asset's (``asset_id``), and :data:`EVERY_DAG` for a call on many.
    """

    act: str
    dag_id: str
    run_id: str | None
    task_id: str | None
    map_index: int
    asset_id: int | None = None

    @property
    def says_it_all(self) -> bool:
        """Whether path and query say what it is about; a body may be a value of any size."""
        return self.act in ("edit", "delete", "start")


def recognise(method: str, path: str, query: bytes = b"") -> Override | None:
    """Return what the call overrides, or ``None`` when it is of another kind."""
    for wanted, pattern, act in _ROUTES:
        match = pattern.search(path) if method == wanted else None
        found = _read(act, match.groupdict(), query) if match is not None else None
        if found is not None:
            return found
    return None


def _read(act: str, found: Mapping[str, str | None], query: bytes) -> Override | None:
    asset_id = parse_index(found["asset"]) if "asset" in found else None
    if "asset" in found and asset_id is None:
        return None
    index = parse_index(found.get("index") or _index_asked_for(act, query))
    if index is None:
        return None
    dag_id = found.get("dag") or ("" if act in ("feed", "edit", "start") else EVERY_DAG)
    return Override(act, dag_id, found.get("run"), found.get("task") or found.get("group"), index, asset_id)


def _index_asked_for(act: str, query: bytes) -> str:
    """Deletes name their map index in the query."""
    return QueryParams(query).get("map_index", "-1") if act in ("delete", "edit") else "-1"


def with_body(override: Override, body: Any) -> Override:
    """Return the override with what only the body says: which asset an event is of."""
    if override.act != "feed" or not isinstance(body, Mapping):
        return override
    return replace(override, asset_id=parse_index(body.get("asset_id")))


_INTEGER = TypeAdapter(int)
_BOOLEAN = TypeAdapter(bool)


def parse_index(text: object) -> int | None:
    """Return an integer as Airflow's API reads it (``-1.0`` and `` -1`` are -1 there too)."""
    try:
        return _INTEGER.validate_python(text)
    except ValidationError:
        return None


def or_whole(index: object) -> int:
    """Return a map index, -1 when none is named."""
    parsed = parse_index(index)
    return -1 if parsed is None else parsed


def is_true(value: object) -> bool:
    """Whether Airflow's API reads the value as true (``"false"`` is false there)."""
    try:
        return _BOOLEAN.validate_python(value)
    except ValidationError:
        return False


def changes_nothing(override: Override, document: Mapping[str, Any]) -> bool:
    """Whether it is a rehearsal, or sets a note only; bulk calls carry actions instead of one state."""
    if override.act == "clear":
        return is_true(document.get("dry_run", True))
    if override.act == "mark":
        return not any(key in document for key in ("new_state", "state", "actions"))
    return override.act == "unpause" and is_true(document.get("is_paused", True))


def runs_named(override: Override, document: Mapping[str, Any]) -> set[RunKey]:
    """Return the runs that the call may shape, before Airflow has judged it.

    A run id is empty where the call reaches into runs that it does not name: then its whole DAG
    is meant. Names that Airflow's own tables could not hold are nobody's.
    """
    found = {key for key in _named(override, document) if all(map(is_name, key))}
    if len(found) > MOST_NAMED:
        return {(dag_id, "") for dag_id, _ in found}
    return found


def _named(override: Override, document: Mapping[str, Any]) -> Iterator[RunKey]:
    run_id = override.run_id or document.get("dag_run_id") or document.get("run_id")
    named = [*listed(document, "dag_runs"), *entities(document)]
    if isinstance(run_id, str) and run_id != "~":
        yield override.dag_id, run_id
    elif not named:
        yield override.dag_id, ""
    for entity in named:
        dag_id, entity_run = run_of(override, entity)
        yield dag_id, entity_run
        if isinstance(entity, Mapping) and reaches_far(entity):
            yield dag_id, ""
    if reaches_far(document):
        yield override.dag_id, ""


def reaches_far(document: Mapping[str, Any]) -> bool:
    """Whether a mark or clear goes on into earlier or later runs, which it does not name."""
    return any(is_true(document.get(key, False)) for key in ("include_future", "include_past"))


def run_of(override: Override, entity: Any) -> RunKey:
    """Return the run that an entity of a bulk call is in; entities may be names only."""
    if isinstance(entity, Mapping):
        dag_id, run_id = entity.get("dag_id") or override.dag_id, entity.get("dag_run_id") or override.run_id
        return str(dag_id), str(run_id or "")
    return override.dag_id, override.run_id or str(entity)


def listed(document: Any, name: str) -> list[Any]:
    """Return the list of that name in a document, empty when there is none."""
    found = document.get(name) if isinstance(document, Mapping) else None
    return found if isinstance(found, list) else []


def entities(document: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the entities of a bulk call, of all its actions."""
    for action in listed(document, "actions"):
        yield from listed(action, "entities")
