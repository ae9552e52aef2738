"""The start-up check: an API server whose rings are not all in place does not start.

It runs when Airflow has built its app, in every server process and for every split
(``--apps core``, ``--apps execution``): each hooked route of the Execution API is called in every
API version, the middleware must stand before the core API, and the tables must be there.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import svcs
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Mount

from airflow_approvals.api.root_middleware import ApprovalsMiddleware
from airflow_approvals.enforcement import probe
from airflow_approvals.enforcement.execution_hooks import HOOKS
from airflow_approvals.errors import ApprovalsError, ConfigurationError
from airflow_approvals.store.readiness import require_ready

_INSTALL = "Install airflow-approvals for Airflow 3.3, and look for what else changes this server's routes."
_PLUGIN = "/approvals"
_checked = threading.Event()


def check_or_exit(app: FastAPI, apps: str) -> None:
    """Check a server's app; end the process with one sentence when it must not serve.

    :param apps: what ``airflow api-server --apps`` said.
    :raises SystemExit: with the sentence.
    """
    try:
        check(app, apps)
    except ApprovalsError as error:
        raise SystemExit(f"airflow_approvals: this API server does not start: {error}") from None


def check(app: FastAPI, apps: str) -> None:
    """Check a server's app.

    :raises ConfigurationError: naming what is missing.
    """
    parts = set((apps or "all").split(","))
    require_ready()
    if parts & {"all", "core"}:
        _require_middleware(app)
    if parts & {"all", "execution"}:
        _require_hooks(app)
    _checked.set()


def require_checked() -> None:
    """Make sure that this process's server was checked.

    :raises ConfigurationError: when the plugin was loaded and the entry point that checks was not.
    """
    if not _checked.is_set():
        raise ConfigurationError(
            "The entry point airflow.policy of airflow-approvals is not loaded.", _INSTALL
        )


def _require_middleware(app: FastAPI) -> None:
    standing: list[object] = [one.cls for one in app.user_middleware]
    if ApprovalsMiddleware not in standing:
        raise ConfigurationError("The approvals middleware does not stand before Airflow's API.", _INSTALL)
    if _mounted(app, _PLUGIN) is None:
        raise ConfigurationError(f"The approvals API is not mounted under {_PLUGIN}.", _INSTALL)


def _require_hooks(app: FastAPI) -> None:
    execution = _mounted(app, "/execution")
    if execution is None:
        raise ConfigurationError("Airflow's Execution API is not where its hooks are looked for.", _INSTALL)
    if silent := silent_routes(execution):
        names = ", ".join(f"{route} ({version})" for route, version in silent)
        raise ConfigurationError(f"The approvals hooks do not answer on {names}.", _INSTALL)


def _mounted(app: FastAPI, path: str) -> Any | None:
    return next((one.app for one in app.routes if isinstance(one, Mount) and one.path == path), None)


def silent_routes(execution: Any) -> list[tuple[str, str]]:
    """Return the hooked routes on which the hook does not answer, each with the API version.

    :param execution: Airflow's Execution API; it may be served already.
    """
    found: list[tuple[str, str]] = []
    # In a thread: the server builds its app inside a running event loop.
    thread = threading.Thread(target=lambda: found.extend(asyncio.run(_silent(execution))))
    thread.start()
    thread.join()
    return found


async def _silent(execution: Any) -> list[tuple[str, str]]:
    had_registry = hasattr(execution.state, "svcs_registry")
    if not had_registry:
        # Airflow sets it when the server starts; resolving a token's dependencies needs one.
        execution.state.svcs_registry = svcs.Registry()
    try:
        return [name async for name in _without_answer(execution)]
    finally:
        if not had_registry:
            del execution.state.svcs_registry
            # Built by the first call; middleware may be added until the server starts.
            execution.middleware_stack = None


async def _without_answer(execution: Any) -> AsyncIterator[tuple[str, str]]:
    versions = [version.value for version in execution.versions]
    for (method, suffix), hook in HOOKS.items():
        for version in versions:
            answered = await probe.ask(execution, method, suffix, version)
            if answered == hook.__name__:
                continue
            # A route that an old version does not have is shut there; the newest has them all.
            if version == versions[0] or any(_routes(execution, version, method, suffix)):
                yield f"{method} {suffix}", version


def _routes(execution: Any, version: str, method: str, suffix: str) -> Iterator[APIRoute]:
    for route in execution.router.versioned_routers[version].routes:
        if isinstance(route, APIRoute) and route.path.endswith(suffix) and method in route.methods:
            yield route
