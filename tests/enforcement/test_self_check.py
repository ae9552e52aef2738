"""The start-up check: whose hook is missed, and that nobody outside can ask."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from cadwyn import Cadwyn
from fastapi import FastAPI

from airflow_approvals.api import self_check
from airflow_approvals.api.root_middleware import ApprovalsMiddleware
from airflow_approvals.enforcement import probe
from airflow_approvals.enforcement.execution_hooks import HOOKS
from airflow_approvals.errors import ConfigurationError
from airflow_approvals.store import readiness
from tests.control.airflow_scene import Airflow, Run
from tests.control.execution_worker import NEWEST, Worker, token_of


def dependencies_of(execution: Cadwyn, version: str, method: str, suffix: str) -> list[Any]:
    (route,) = self_check._routes(execution, version, method, suffix)
    return route.dependant.dependencies


def test_every_hook_answers_in_every_version(execution_app: Cadwyn) -> None:
    assert len(list(execution_app.versions)) > 5
    assert self_check.silent_routes(execution_app) == []


@pytest.mark.parametrize(("method", "suffix"), HOOKS)
@pytest.mark.parametrize("version", ["2025-04-11", "2026-06-30"])
def test_a_hook_that_one_version_lacks_is_missed(
    execution_app: Cadwyn, airflow: Airflow, version: str, method: str, suffix: str
) -> None:
    self_check.silent_routes(execution_app)
    hooked = dependencies_of(execution_app, version, method, suffix)
    before = list(hooked)
    hooked[:] = [one for one in before if one.call.__name__ != HOOKS[method, suffix].__name__]
    assert len(hooked) == len(before) - 1
    try:
        assert self_check.silent_routes(execution_app) == [(f"{method} {suffix}", version)]
    finally:
        hooked[:] = before


def test_the_check_touches_no_database(execution_app: Cadwyn, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow import settings

    monkeypatch.setattr(settings, "engine", None)
    monkeypatch.setattr(settings, "Session", None)
    monkeypatch.setattr(settings, "AsyncSession", None, raising=False)
    assert self_check.silent_routes(execution_app) == []


def test_nothing_that_is_sent_looks_like_a_probe(newest: Worker, airflow: Airflow) -> None:
    """The mark is an object in the process: no header, query or body can be one."""
    run: Run = airflow.a_run()
    run.start("aside")
    headers = {
        "Authorization": f"Bearer {token_of(run.ti_id('aside'))}",
        "Airflow-API-Version": NEWEST,
        probe._KEY: str(probe._MARK),
        "airflow_approvals-probe": "1",
    }
    answer = newest.client.get("/connections/sink_a", headers=headers, params={probe._KEY: "1"})
    assert answer.json()["detail"]["reason"] == "approvals_no_grant"
    assert probe._NONCE not in answer.text


def test_an_answer_without_the_nonce_is_no_answer() -> None:
    app = FastAPI()

    @app.get("/connections/{connection_id}", status_code=409)
    def forged(connection_id: str) -> dict[str, Any]:
        return {"detail": {"reason": "approvals_probe", "hook": "connection_hook", "nonce": "guess"}}

    assert asyncio.run(probe.ask(app, "GET", "/connections/{connection_id}", NEWEST)) is None


# -- the whole server ------------------------------------------------------------------------


def a_server(
    execution_app: Any, *, middleware: bool = True, plugin: bool = True, execution: bool = True
) -> FastAPI:
    app = FastAPI()
    if middleware:
        app.add_middleware(ApprovalsMiddleware)
    if plugin:
        app.mount("/approvals", FastAPI())
    if execution:
        app.mount("/execution", execution_app)
    return app


@pytest.mark.parametrize("apps", ["all", "core", "execution", "core,execution", ""])
def test_a_whole_server_passes(airflow: Airflow, execution_app: Any, apps: str) -> None:
    self_check.check(a_server(execution_app), apps)
    self_check.require_checked()


@pytest.mark.parametrize(
    ("lacks", "refused", "passes"),
    [
        ("middleware", "core", "execution"),
        ("plugin", "core", "execution"),
        ("execution", "execution", "core"),
    ],
)
def test_each_split_needs_its_own(
    airflow: Airflow, execution_app: Any, lacks: str, refused: str, passes: str
) -> None:
    server = a_server(execution_app, **{lacks: False})
    self_check.check(server, passes)
    for apps in (refused, "all"):
        with pytest.raises(SystemExit, match="this API server does not start"):
            self_check.check_or_exit(server, apps)


def test_the_tables_must_be_there(bare_airflow: Airflow, execution_app: Any) -> None:
    database = bare_airflow.database
    readiness.require_ready()
    database.execute("UPDATE alembic_version_approvals SET version_num = '0000'")
    with pytest.raises(ConfigurationError, match=r"at revision 0000.*airflow db migrate"):
        readiness.require_ready()
    database.execute("DROP TABLE alembic_version_approvals")
    for apps in ("core", "execution", "all"):
        with pytest.raises(ConfigurationError, match=r"no approvals tables.*airflow db migrate"):
            self_check.check(a_server(execution_app), apps)


def test_a_database_that_cannot_be_asked_is_no_ready_one(
    bare_airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow import settings
    from sqlalchemy import create_engine

    monkeypatch.setattr(settings, "engine", create_engine("sqlite:////nowhere/at/all.db"))
    with pytest.raises(ConfigurationError, match="cannot be asked"):
        readiness.require_ready()
