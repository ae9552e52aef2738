"""The approvals app, mounted by Airflow's API server under ``/approvals``.

Airflow mounts plugin apps without any authentication in front. Here every router is closed by
a dependency of its own; the only open ones take callbacks that carry a vendor's signature.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI

from airflow_approvals import __version__
from airflow_approvals.api import (
    asking,
    batches,
    break_glass,
    links,
    records,
    refusals,
    requests,
    self_check,
    slack,
    standing,
    teams,
)
from airflow_approvals.api.auth import signed_in
from airflow_approvals.api.bounds import Bounds
from airflow_approvals.chat import messages, slack_callbacks, teams_messages
from airflow_approvals.config.settings import Settings
from airflow_approvals.dispatcher import Dispatcher

URL_PREFIX = "/approvals"


def create_app() -> FastAPI:
    """Build the app. Its own schema is served to signed-in users only."""
    app = FastAPI(
        title="Airflow Approvals",
        version=__version__,
        lifespan=_lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    refusals.install(app)
    app.add_middleware(Bounds)
    app.state.slack_door = slack.SlackDoor(
        secrets=lambda: slack.signing_secrets(Settings.load()),
        take=slack_callbacks.take,
    )
    app.state.teams_door = teams.TeamsDoor(
        gate=lambda: teams.gate_of(Settings.load()),
        begin=teams_messages.begin,
        deliver=messages.deliver,
    )
    for router in (
        requests.router,
        asking.router,
        batches.router,
        break_glass.router,
        standing.router,
        links.router,
        records.router,
        slack.router,
        teams.router,
    ):
        app.include_router(router)

    @app.get("/api/v1/openapi.json", dependencies=[Depends(signed_in)], include_in_schema=False)
    def schema() -> dict[str, Any]:
        return app.openapi()

    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Refuse to serve unchecked; run the dispatcher while the server runs.

    :raises ConfigurationError: when nobody has checked that the rings are in place.
    """
    self_check.require_checked()
    settings = Settings.load()
    dispatcher = Dispatcher(settings) if settings.dispatcher_enabled else None
    if dispatcher is not None:
        dispatcher.start()
    try:
        yield
    finally:
        if dispatcher is not None:
            dispatcher.stop()
