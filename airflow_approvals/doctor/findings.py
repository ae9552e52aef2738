"""Findings: what is wrong, how much it matters, why, and how to put it right."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from airflow_approvals.config.settings import Settings
from airflow_approvals.core.policy import Policy


class Severity(enum.StrEnum):
    """How much a finding matters, worst first.

    ``critical``: there is a way around a gate, and the claim does not hold here. ``warning``:
    gates hold, and something stops people or weakens the evidence. ``note``: worth knowing.
    """

    CRITICAL = "critical"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One finding. ``check`` is its stable id; no field ever holds a secret or a row of data."""

    check: str
    severity: Severity
    what: str
    why: str
    fix: str

    def to_document(self) -> dict[str, str]:
        """Return the JSON object of the report."""
        return {
            "check": self.check,
            "severity": self.severity.value,
            "what": self.what,
            "why": self.why,
            "fix": self.fix,
        }


@dataclass(frozen=True)
class Surroundings:
    """What the checks look at, gathered once.

    ``environ`` is the environment of this process, and ``written`` are the options that stand in
    the configuration file itself, as ``(section, option)`` pairs. ``projected`` are the Connections
    that the projection for DAG parsers names. ``worker``: tasks run here, in
    this environment; then there is no database, and ``policy`` is ``None``.
    """

    settings: Settings
    environ: Mapping[str, str]
    written: frozenset[tuple[str, str]]
    executors: tuple[str, ...]
    now: datetime
    policy: Policy | None = None
    projected: frozenset[str] = frozenset()
    worker: bool = False

    @property
    def connections(self) -> Sequence[str]:
        """Ids of the protected Connections that are known here, sorted."""
        listed = self.settings.protected_connections | self.projected
        return sorted(listed | (self.policy.protected_connections if self.policy else frozenset()))


def worst_first(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield findings by severity, each severity in the order they were found."""
    order = list(Severity)
    yield from sorted(findings, key=lambda finding: order.index(finding.severity))
