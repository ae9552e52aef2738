"""The Airflow plugin. Nothing is built at import; each property builds on first read.

Airflow instantiates plugins that come by entry point, so the properties are read only where
they are needed: in an API server.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin


class ApprovalsPlugin(AirflowPlugin):
    """Registers the approvals API and its root middleware with Airflow's API server."""

    name = "approvals"

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The app and where it is mounted."""
        from airflow_approvals.api.app import URL_PREFIX, create_app

        return [{"app": create_app(), "url_prefix": URL_PREFIX, "name": "Approvals"}]

    @cached_property
    def fastapi_root_middlewares(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The middleware that owns Airflow's answer route for gates."""
        from airflow_approvals.api.root_middleware import ApprovalsMiddleware

        return [{"middleware": ApprovalsMiddleware, "name": "Approvals"}]
