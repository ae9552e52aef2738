"""The facts of a request that a policy judges by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_approvals.core.ask import Ask
from airflow_approvals.core.classification import Label


@dataclass(frozen=True)
class Facts:
    """What a policy judges by.

    ``rows``, ``objects`` and ``size`` (bytes) are totals of the manifest. ``residual`` counts what
    an independent scan still found, ``None`` where there was no scan; ``scanned`` of ``total``
    cells were looked at and ``not_scanned`` objects were not. ``verified`` says that the custodian
    found it, not a task.
    """

    action: str
    sink: str
    label: Label
    dag_id: str = ""
    rows: int = 0
    objects: int = 0
    size: int = 0
    profile: str = ""
    residual: int | None = 0
    scanned: int = 0
    total: int = 0
    not_scanned: int = 0
    verified: bool = False
    unattributed: bool = False

    @classmethod
    def of(cls, ask: Ask, dag_id: str, *, unattributed: bool, verified: bool = False) -> Facts:
        """Return the facts of an ask; evidence of other data counts for nothing."""
        evidence = ask.evidence_of_this_data
        return cls(
            action=ask.action,
            sink=ask.sink,
            label=ask.label,
            dag_id=dag_id,
            rows=ask.data.rows,
            objects=ask.data.object_count,
            size=ask.data.size,
            profile=ask.data.profile,
            residual=sum(count for _, count in evidence.findings) if evidence else None,
            scanned=evidence.scanned if evidence else 0,
            total=evidence.total if evidence else 0,
            not_scanned=evidence.not_scanned if evidence else ask.data.object_count,
            verified=verified,
            unattributed=unattributed,
        )

    @property
    def coverage(self) -> float:
        """Which share of the cells was scanned, 0 to 1; nothing to scan is nothing scanned."""
        return self.scanned / self.total if self.total else 0.0

    def to_document(self) -> dict[str, Any]:
        """Return the facts as a policy's conditions see them.

        ``level`` is the label as a number, for comparing. What is not known is left out, so that
        to ask for it is an error.
        """
        residual = {} if self.residual is None else {"residual": self.residual}
        return {
            "action": self.action,
            "sink": self.sink,
            "label": self.label.word,
            "level": int(self.label),
            "dag": self.dag_id,
            "unattributed": self.unattributed,
            "data": {
                "rows": self.rows,
                "objects": self.objects,
                "bytes": self.size,
                "profile": self.profile,
            },
            "evidence": {
                "verified": self.verified,
                **residual,
                "scanned": self.scanned,
                "total": self.total,
                "not_scanned": self.not_scanned,
                "coverage": self.coverage,
            },
        }
