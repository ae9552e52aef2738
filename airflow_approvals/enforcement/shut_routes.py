"""The way out when the hooks cannot be attached: shut what they guard.

An API server then refuses to start. The other processes that hold an Execution API of their own
(DAG processor, triggerer, ``airflow tasks test``) have no such check, and without hooks they would
hand out everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import Depends, HTTPException

_ALL = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
#: End of the path -> methods that are shut; ``enforcement.execution_hooks`` has the hooks on them.
GUARDED: Mapping[str, frozenset[str]] = {
    "/hitlDetails/{task_instance_id}": _ALL,
    "/task-instances/{task_instance_id}/run": _ALL,
    "/connections/{connection_id}": _ALL,
    "/dag-runs/{dag_id}/{run_id}/clear": _ALL,
    # Reading a run, and what its tasks left, stays open.
    "/dag-runs/{dag_id}/{run_id}": frozenset({"POST"}),
    "/xcoms/{dag_id}/{run_id}/{task_id}/{key:path}": frozenset({"POST", "DELETE"}),
}


def shut(routes: Iterable[Any]) -> None:
    """Let every guarded route answer 403."""
    for route in routes:
        path, methods = getattr(route, "path", ""), getattr(route, "methods", None) or frozenset()
        if any(path.endswith(end) and methods & shut_ones for end, shut_ones in GUARDED.items()):
            route.dependencies.append(Depends(_refuse))


def _refuse() -> None:
    raise HTTPException(403, {"reason": "approvals_missing", "message": "The approvals hooks are missing."})
