"""Airflow's ``airflow.policy`` entry point, imported by every ``import airflow``.

Standard library only, and it never raises: pluggy loads it unguarded, so an exception here
would break every Airflow process. An eager import of the Execution API would cost seconds in
each of them, so the hooks attach through a post-import hook: when that one module is imported
(an API server building its app, or an in-process Execution API), and before the app is built.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

EXECUTION_ROUTES = "airflow.api_fastapi.execution_api.routes"


class _HookingLoader(importlib.abc.Loader):
    """Runs the real loader, then attaches the hooks to the finished module."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _attach(module)


class _ExecutionRoutesFinder(importlib.abc.MetaPathFinder):
    """Finds nothing itself; wraps the loader of the one module it waits for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != EXECUTION_ROUTES:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _HookingLoader(spec.loader)
                return spec
        return None


def _attach(module: ModuleType) -> None:
    """Attach the hooks; where that fails, shut the routes they guard: never open for want of a hook."""
    try:
        from airflow_approvals.control.execution_hooks import attach

        attach(module.execution_api_router)
    except Exception as error:
        print(f"airflow_approvals: the Execution API hooks are not attached: {error!r}", file=sys.stderr)
        _shut(module)


def _shut(module: ModuleType) -> None:
    try:
        from airflow_approvals.shut_routes import shut

        shut(module.execution_api_router.routes)
    except Exception as error:
        print(f"airflow_approvals: the guarded routes could not be shut: {error!r}", file=sys.stderr)


if EXECUTION_ROUTES in sys.modules:
    _attach(sys.modules[EXECUTION_ROUTES])
elif not any(isinstance(finder, _ExecutionRoutesFinder) for finder in sys.meta_path):
    sys.meta_path.insert(0, _ExecutionRoutesFinder())
