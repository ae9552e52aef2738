"""Gauges and timers through Airflow's Stats, wherever the operator sends those."""

from __future__ import annotations

import logging
from datetime import timedelta

from airflow_approvals.control import health

log = logging.getLogger(__name__)


def gauge(name: str, value: float) -> None:
    """Report one gauge, ``approvals.<name>``."""
    try:
        from airflow._shared.observability.metrics import stats

        stats.gauge(f"approvals.{name}", value)
    except Exception:
        log.debug("approvals: a metric could not be reported", exc_info=True)


def measure_round(duration: timedelta) -> None:
    """Report how long a dispatcher round took and how the control plane is."""
    try:
        from airflow._shared.observability.metrics import stats

        stats.timing("approvals.dispatcher.round", duration)
        for name, value in health.figures().items():
            if value is not None:
                stats.gauge(f"approvals.{name}", value)
    except Exception:
        # Metrics are for looking at the work; they never stop it.
        log.debug("approvals: metrics could not be reported", exc_info=True)
