"""The server: doors that are closed, hooks that answer, and who may come in."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
from fastapi import FastAPI
from fastapi.routing import APIRoute

from airflow_approvals.api.app import create_app
from airflow_approvals.api.self_check import silent_routes
from airflow_approvals.control import health
from airflow_approvals.doctor.findings import Finding, Severity, Surroundings
from airflow_approvals.store.session import database_clock

#: Between an approval's clock and the database's; grants and leases are timed in minutes.
SKEW_WARNED = timedelta(seconds=5)
SKEW_CRITICAL = timedelta(seconds=60)
_REFUSED = (401, 403)


def routes_closed(around: Surroundings) -> Iterator[Finding]:
    """Every route of the app, called as a stranger: none may answer."""
    if around.worker:
        return
    for method, path, status in asyncio.run(_as_a_stranger(create_app())):
        yield Finding(
            "route_open",
            Severity.CRITICAL,
            f"{method} /approvals{path} answers {status} to somebody who is not signed in.",
            "Airflow mounts plugin apps without authentication of its own.",
            "Sign-in must be required: turn off [core] simple_auth_manager_all_admins and public roles.",
        )


async def _as_a_stranger(app: FastAPI) -> list[tuple[str, str, int]]:
    """Return the calls that were answered. A callback without its vendor's signature is refused."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    opened = []
    async with httpx.AsyncClient(transport=transport, base_url="http://doctor") as stranger:
        for route in (one for one in app.routes if isinstance(one, APIRoute)):
            for method in sorted(route.methods):
                answer = await stranger.request(method, re.sub(r"\{[^}]*\}", "none", route.path), json={})
                if not _refused(answer):
                    opened.append((method, route.path, answer.status_code))
    return opened


def _refused(answer: httpx.Response) -> bool:
    # Without a signing secret the door for Slack is not there at all.
    return answer.status_code in _REFUSED or answer.status_code == 503


def hooks_answering(around: Surroundings) -> Iterator[Finding]:
    """The hooks on Airflow's Execution API, called in every version as the server does at its start."""
    if around.worker:
        return
    from airflow.api_fastapi.execution_api.app import create_task_execution_api_app

    silent: dict[str, list[str]] = {}
    for route, version in silent_routes(create_task_execution_api_app()):
        silent.setdefault(route, []).append(version)
    for route, versions in silent.items():
        yield Finding(
            "hook_missing",
            Severity.CRITICAL,
            f"The approvals hook does not answer on {route} (API versions {', '.join(versions)}).",
            "A gate is open on a server that serves this route without it.",
            "Install airflow-approvals for Airflow 3.3 into every API server's environment.",
        )


def strangers_as_users(around: Surroundings) -> Iterator[Finding]:
    """Settings that sign everybody in, or let any page on the web act for who is."""
    if around.worker:
        return
    from airflow.configuration import conf

    if conf.getboolean("core", "simple_auth_manager_all_admins", fallback=False):
        yield Finding(
            "everybody_is_admin",
            Severity.CRITICAL,
            "[core] simple_auth_manager_all_admins is on.",
            "Nobody can be told apart, so nobody can be kept from approving their own run.",
            "Turn it off.",
        )
    origins = str(conf.get("api", "access_control_allow_origins", fallback="") or "").split()
    if "*" in {origin.strip(",") for origin in origins}:
        yield Finding(
            "cors_wildcard",
            Severity.CRITICAL,
            "[api] access_control_allow_origins allows every origin.",
            "A page anywhere on the web could read approvals and act with an approver's session.",
            "Name the origins that are yours.",
        )


def connections_testable(around: Surroundings) -> Iterator[Finding]:
    """Airflow's test of Connections, which uses stored secrets as the caller says."""
    if around.worker:
        return
    from airflow.configuration import conf

    if str(conf.get("core", "test_connection", fallback="")).strip().lower() == "enabled":
        yield Finding(
            "test_connection",
            Severity.WARNING,
            "[core] test_connection is Enabled.",
            "A test sends a stored secret where the caller's extra says. This package refuses it for "
            "protected connections, on the servers that have it; other secrets stay within reach.",
            "Set it to Disabled, which is Airflow's default.",
        )


def servers_split(around: Surroundings) -> Iterator[Finding]:
    """Workers that talk to another server than the one people use."""
    if around.worker:
        return
    from airflow.configuration import conf

    execution = conf.get("core", "execution_api_server_url", fallback="") or ""
    if execution and _host(execution) != _host(around.settings.base_url):
        yield Finding(
            "split_servers",
            Severity.NOTE,
            f"Workers use another API server ({_host(execution)}) than people do.",
            "The rings are in the server that workers use; it has to have this package as well.",
            "Run `airflow approvals doctor` in that server's environment too.",
        )


def _host(url: str) -> str:
    return httpx.URL(url).netloc.decode("ascii")


def clocks_agree(around: Surroundings) -> Iterator[Finding]:
    """This machine's clock and the database's."""
    if around.worker:
        return
    before = datetime.now(UTC)
    skew = max(abs(database_clock() - before) - (datetime.now(UTC) - before), timedelta())
    if skew > SKEW_WARNED:
        yield Finding(
            "clock_skew",
            Severity.CRITICAL if skew > SKEW_CRITICAL else Severity.WARNING,
            f"This machine's clock and the database's are {int(skew.total_seconds())} s apart.",
            "Grants would live longer than they were given, or be dead when they are issued.",
            "Run NTP on both.",
        )


def control_plane_healthy(around: Surroundings) -> Iterator[Finding]:
    """What the health report of the API server says."""
    for problem in () if around.worker else health.report()["problems"]:
        yield Finding(
            "unhealthy",
            Severity.WARNING,
            problem,
            "Requests may wait for nothing.",
            "See docs/operations.md.",
        )


CHECKS = (
    routes_closed,
    hooks_answering,
    strangers_as_users,
    connections_testable,
    servers_split,
    clocks_agree,
    control_plane_healthy,
)
