"""The Airflow plugin. Nothing is built at import; each property builds on first read."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class ApprovalsPlugin(AirflowPlugin):
    """Registers the approvals API and its root middleware with Airflow's API server."""

    name = "approvals"
