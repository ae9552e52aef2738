"""Messages that nobody gets: a request that nobody hears of can only expire."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_approvals.control import deliveries
from airflow_approvals.doctor.findings import Finding, Severity, Surroundings
from airflow_approvals.store.session import run_read

_WAY_OUT = {"slack": "Run `airflow approvals slack check`"}


def messages_delivered(around: Surroundings) -> Iterator[Finding]:
    """What the outbox gave up, and what it has been trying for a while."""
    if around.worker:
        return
    for trouble in run_read(lambda session: deliveries.troubles(session, now=around.now)):
        state = "were given up" if trouble.given_up else "are still being tried"
        fix = _WAY_OUT.get(trouble.medium, f"Check the set-up of {trouble.medium}")
        yield Finding(
            "undelivered",
            Severity.WARNING,
            f"{trouble.messages} messages about {trouble.requests} requests {state} "
            f"in {trouble.medium}: {trouble.error}",
            "Who is not told does not answer, and the clock runs on: these requests expire in time.",
            f"{fix}; until then people can answer in Airflow.",
        )


CHECKS = (messages_delivered,)
