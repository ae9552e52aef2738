"""The way out when the hooks cannot be attached: shut what they guard.

An execution-only API server loads no plugin, so nothing would refuse to start there; without
hooks it would hand out everything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import Depends, HTTPException

#: Ends of the paths of the guarded routes; ``control.execution_hooks`` has them with methods.
GUARDED = (
    "/hitlDetails/{task_instance_id}",
    "/task-instances/{task_instance_id}/run",
    "/connections/{connection_id}",
)


def shut(routes: Iterable[Any]) -> None:
    """Let every guarded route answer 403."""
    for route in routes:
        if getattr(route, "path", "").endswith(GUARDED):
            route.dependencies.append(Depends(_refuse))


def _refuse() -> None:
    raise HTTPException(403, {"reason": "approvals_missing", "message": "The approvals hooks are missing."})
