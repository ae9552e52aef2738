"""The examination: gather what is around once, then run every check."""

from __future__ import annotations

import configparser
import json
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from airflow_approvals.config.settings import Settings
from airflow_approvals.control import faults
from airflow_approvals.core.policy import Policy
from airflow_approvals.doctor import chat_secrets, code, deliveries, files, people, server, task_environment
from airflow_approvals.doctor.findings import Finding, Severity, Surroundings, worst_first
from airflow_approvals.errors import ApprovalsError
from airflow_approvals.store import policies
from airflow_approvals.store.session import run_read

Check = Callable[[Surroundings], Iterable[Finding]]
CHECKS: tuple[Check, ...] = (
    *server.CHECKS,
    *task_environment.CHECKS,
    *files.CHECKS,
    *people.CHECKS,
    *chat_secrets.CHECKS,
    *code.CHECKS,
    *deliveries.CHECKS,
)


def examine(around: Surroundings, checks: Iterable[Check] = CHECKS) -> list[Finding]:
    """Return all findings, worst first. A check that fails is itself a critical finding."""
    return list(worst_first(found for check in checks for found in _run(check, around)))


def _run(check: Check, around: Surroundings) -> Iterator[Finding]:
    try:
        yield from check(around)
    except Exception as error:
        faults.report(f"run check {check.__name__}", error)
        yield Finding(
            "not_checked",
            Severity.CRITICAL,
            f"Check {check.__name__} could not be made: {_said(error)}",
            "What was not looked at cannot be vouched for.",
            "Put right what stopped it, and run the doctor again.",
        )


def _said(error: Exception) -> str:
    """Return what may be printed of an error: our own sentences, otherwise the kind only."""
    return str(error) if isinstance(error, ApprovalsError) else f"{type(error).__name__}."


def surroundings(*, worker: bool) -> Surroundings:
    """Gather what is around this process.

    :param worker: tasks run here; nothing is asked of a database then.
    :raises ApprovalsError: when the configuration or the stored policy cannot be read.
    """
    settings = Settings.load()
    return Surroundings(
        settings=settings,
        environ=dict(os.environ),
        written=_written(),
        executors=_executors(),
        now=datetime.now(UTC),
        policy=None if worker else _active_policy(),
        projected=_projected(settings.projection_file),
        worker=worker,
    )


def _projected(path: Path | None) -> frozenset[str]:
    """Return the Connections that the projection names; none when it cannot be read."""
    try:
        sinks = json.loads(path.read_text(encoding="utf-8"))["sinks"] if path is not None else {}
        return frozenset(str(sink["connection"]) for sink in sinks.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return frozenset()


def _active_policy() -> Policy | None:
    return run_read(policies.active_policy)


def _executors() -> tuple[str, ...]:
    """Return the class names of the configured executors, without teams and aliases."""
    from airflow.configuration import conf

    listed = str(conf.get("core", "executor", fallback="LocalExecutor")).replace(";", ",")
    names = (item.split("=")[-1].split(":")[-1].rsplit(".", 1)[-1].strip() for item in listed.split(","))
    return tuple(name for name in names if name)


def _written() -> frozenset[tuple[str, str]]:
    """Return the options that stand in the configuration file, with a value."""
    from airflow.configuration import AIRFLOW_CONFIG

    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.read(AIRFLOW_CONFIG, encoding="utf-8")
    return frozenset(
        (section, option) for section in parser.sections() for option, value in parser.items(section) if value
    )
