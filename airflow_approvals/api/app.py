"""The approvals app, mounted by Airflow's API server under ``/approvals``.

Airflow mounts plugin apps without any authentication in front. Here every router is closed by
a dependency of its own; the only open one takes callbacks that carry a vendor's signature.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI

from airflow_approvals import __version__
from airflow_approvals.api import records, refusals, requests, slack
from airflow_approvals.api.auth import signed_in
from airflow_approvals.config.settings import Settings
from airflow_approvals.control import messages
from airflow_approvals.control.dispatcher import Dispatcher
from airflow_approvals.control.execution_hooks import missing_hooks
from airflow_approvals.errors import ConfigurationError

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
    app.state.slack_door = slack.SlackDoor(
        secrets=lambda: slack.signing_secrets(Settings.load()),
        keep=messages.keep_click,
        process=messages.process_and_deliver,
    )
    for router in (requests.router, records.router, slack.router):
        app.include_router(router)

    @app.get("/api/v1/openapi.json", dependencies=[Depends(signed_in)], include_in_schema=False)
    def schema() -> dict[str, Any]:
        return app.openapi()

    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Refuse to serve without the hooks; run the dispatcher while the server runs.

    :raises ConfigurationError: when a hook is missing: gates would be open on that server.
    """
    if missing := missing_hooks():
        raise ConfigurationError(
            f"The approvals hooks are missing on {', '.join(missing)}.",
            "Install airflow-approvals for Airflow 3.3 into this server's environment.",
        )
    settings = Settings.load()
    dispatcher = Dispatcher(settings) if settings.dispatcher_enabled else None
    if dispatcher is not None:
        dispatcher.start()
    try:
        yield
    finally:
        if dispatcher is not None:
            dispatcher.stop()
