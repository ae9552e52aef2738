"""Evidence: what an independent scan found in the data it was given, without a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from airflow_approvals.core.classification import Label
from airflow_approvals.core.digest import document_digest, require_digest
from airflow_approvals.core.documents import Fields
from airflow_approvals.errors import ContractError

EVIDENCE_VERSION = 1


@dataclass(frozen=True)
class ColumnEvidence:
    """One column (``""`` for plain text) of one object: what was found and how much was seen.

    ``scanned`` and ``total`` are cells (lines for plain text); ``entities`` are
    ``(entity type, count)`` pairs.
    """

    uri: str
    column: str
    label: Label
    scanned: int
    total: int
    entities: tuple[tuple[str, int], ...] = ()

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "uri": self.uri,
            "column": self.column,
            "label": self.label.word,
            "scanned": self.scanned,
            "total": self.total,
            "entities": [[kind, count] for kind, count in sorted(self.entities)],
        }

    @classmethod
    def from_document(cls, document: object) -> ColumnEvidence:
        """Read the JSON object; :raises ContractError: when it breaks the schema."""
        fields = Fields(document, "column evidence")
        column = cls(
            uri=fields.text("uri"),
            column=fields.text("column"),
            label=parse_label(fields.raw("label")),
            scanned=fields.count("scanned"),
            total=fields.count("total"),
            entities=tuple(_entity_pair(item) for item in fields.items("entities")),
        )
        fields.end()
        return column


@dataclass(frozen=True)
class Evidence:
    """The scan of a whole.

    ``subject`` is the digest of the manifest that was scanned, or ``None`` when the source is
    not a masked copy. ``not_scanned`` lists ``(uri, reason)``: each makes the whole restricted.
    """

    subject: str | None
    label: Label
    columns: tuple[ColumnEvidence, ...]
    engine: str
    model: str
    not_scanned: tuple[tuple[str, str], ...] = ()

    @property
    def findings(self) -> dict[str, int]:
        """Count per entity type over all columns: the residual risk of a masked copy."""
        totals: dict[str, int] = {}
        for column in self.columns:
            for kind, count in column.entities:
                totals[kind] = totals.get(kind, 0) + count
        return dict(sorted(totals.items()))

    @property
    def scanned(self) -> int:
        """Cells that were scanned."""
        return sum(column.scanned for column in self.columns)

    @property
    def total(self) -> int:
        """Cells there are."""
        return sum(column.total for column in self.columns)

    @cached_property
    def digest(self) -> str:
        """``sha256:<hex>`` over the canonical bytes of :meth:`to_document`."""
        return document_digest(self.to_document())

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object, in the one order that the digest is taken over."""
        columns = sorted(self.columns, key=lambda c: (c.uri, c.column))
        return {
            "version": EVIDENCE_VERSION,
            "subject": self.subject,
            "label": self.label.word,
            "columns": [column.to_document() for column in columns],
            "engine": self.engine,
            "model": self.model,
            "not_scanned": [[uri, reason] for uri, reason in sorted(self.not_scanned)],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Evidence:
        """Read the JSON object; :raises ContractError: when it breaks the schema."""
        fields = Fields(document, "evidence")
        fields.version(EVIDENCE_VERSION)
        subject = fields.optional_text("subject")
        evidence = cls(
            subject=None if subject is None else require_digest(subject, "evidence: subject"),
            label=parse_label(fields.raw("label")),
            columns=tuple(ColumnEvidence.from_document(item) for item in fields.items("columns")),
            engine=fields.text("engine"),
            model=fields.text("model"),
            not_scanned=tuple(_reason_pair(item) for item in fields.items("not_scanned")),
        )
        fields.end()
        return evidence


def parse_label(word: object) -> Label:
    """Return the label of that name; :raises ContractError: when there is none."""
    try:
        return Label.parse(word)
    except ValueError as error:
        raise ContractError(f"evidence: {error}") from error


def _entity_pair(item: object) -> tuple[str, int]:
    if isinstance(item, list) and len(item) == 2:
        kind, count = item
        if isinstance(kind, str) and isinstance(count, int) and not isinstance(count, bool) and count >= 0:
            return kind, count
    raise ContractError("evidence: an entity must be [entity type, count].")


def _reason_pair(item: object) -> tuple[str, str]:
    if isinstance(item, list) and len(item) == 2 and all(isinstance(part, str) for part in item):
        return item[0], item[1]
    raise ContractError("evidence: what was not scanned must be [uri, reason].")
