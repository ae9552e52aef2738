"""Airflow's ``airflow.policy`` entry point, imported by every ``import airflow``.

Standard library only, and it never raises: pluggy loads it unguarded, so an exception here
would break every Airflow process. An eager import of the Execution API would cost seconds in
each of them, so everything attaches through a post-import hook on two modules:

1. the Execution API's routes, before any app is built from them, get our hooks; this happens in
   API servers and in every process that holds an Execution API of its own;
2. the function that builds an API server's app is followed by the start-up check.

``dag_policy`` is the flow ring.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

EXECUTION_ROUTES = "airflow.api_fastapi.execution_api.routes"
SERVER_APP = "airflow.api_fastapi.app"


class _HookingLoader(importlib.abc.Loader):
    """Runs the real loader, then what is to follow on the finished module."""

    def __init__(self, loader: importlib.abc.Loader, follow: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._follow = follow

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._follow(module)


class _AirflowFinder(importlib.abc.MetaPathFinder):
    """Finds nothing itself; wraps the loaders of the modules it waits for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in _FOLLOW:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _HookingLoader(spec.loader, _FOLLOW[fullname])
                return spec
        return None


def _attach(module: ModuleType) -> None:
    """Attach the hooks; where that fails, shut the routes they guard: never open for want of a hook."""
    try:
        from airflow_approvals.enforcement.execution_hooks import attach

        attach(module.execution_api_router)
    except Exception as error:
        print(f"airflow_approvals: the Execution API hooks are not attached: {error!r}", file=sys.stderr)
        _shut(module)


def _shut(module: ModuleType) -> None:
    try:
        from airflow_approvals.enforcement.shut_routes import shut

        shut(module.execution_api_router.routes)
    except Exception as error:
        print(f"airflow_approvals: the guarded routes could not be shut: {error!r}", file=sys.stderr)


def _check_servers(module: ModuleType) -> None:
    """Let the start-up check follow whenever a server's app is built; without it none is served."""
    build = module.create_app

    @functools.wraps(build)
    def build_and_check(apps: str = "all") -> Any:
        from airflow_approvals.api.self_check import check_or_exit

        app = build(apps=apps)
        check_or_exit(app, apps)
        return app

    module.create_app = build_and_check  # type: ignore[attr-defined]


def dag_policy(dag: Any) -> None:
    """Airflow's hook on every DAG that is loaded: the flow ring.

    :raises AirflowClusterPolicyViolation: which Airflow shows as the DAG's import error.
    """
    from airflow_approvals.enforcement import flow_ring

    flow_ring.check(dag)


# What pluggy's marker ``airflow.policies.hookimpl`` leaves on a function; it would be the only
# import here that is not of the standard library.
setattr(dag_policy, "airflow.policy_impl", {"specname": None, "tryfirst": False, "trylast": False})

_FOLLOW: dict[str, Callable[[ModuleType], None]] = {
    EXECUTION_ROUTES: _attach,
    SERVER_APP: _check_servers,
}

for _name, _follow in _FOLLOW.items():
    if _name in sys.modules:
        _follow(sys.modules[_name])
if not any(isinstance(finder, _AirflowFinder) for finder in sys.meta_path):
    sys.meta_path.insert(0, _AirflowFinder())
