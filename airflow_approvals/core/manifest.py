"""The manifest: what a masked copy consists of, and its digest.

1. A manifest describes bytes: the same masked bytes have the same manifest, so it holds no
   time, run or machine. Objects are sorted by URI, counts by column and entity type.
2. Its digest is what approvers approve and what a grant binds.
3. It holds names, sizes, hashes and counts, never a value. Column names and URIs are those of
   the masked copy, in which a name that is itself sensitive has been masked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from airflow_approvals.core.digest import document_digest, require_digest
from airflow_approvals.core.documents import Fields

MANIFEST_VERSION = 1


@dataclass(frozen=True)
class ObjectEntry:
    """One object of the masked copy.

    ``sha256`` is a digest (``sha256:<hex>``), ``size`` is in bytes, ``rows`` counts records
    (lines for plain text), ``format`` is ``csv``, ``jsonl`` or ``text``, ``columns`` are the
    names in file order (empty for plain text).
    """

    uri: str
    sha256: str
    size: int
    rows: int
    format: str
    columns: tuple[str, ...] = ()

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "uri": self.uri,
            "sha256": self.sha256,
            "bytes": self.size,
            "rows": self.rows,
            "format": self.format,
            "columns": list(self.columns),
        }

    @classmethod
    def from_document(cls, document: object) -> ObjectEntry:
        """Read the JSON object; :raises ContractError: when it breaks the schema."""
        fields = Fields(document, "manifest object")
        entry = cls(
            uri=fields.text("uri"),
            sha256=require_digest(fields.raw("sha256"), "manifest object: sha256"),
            size=fields.count("bytes"),
            rows=fields.count("rows"),
            format=fields.text("format"),
            columns=fields.texts("columns"),
        )
        fields.end()
        return entry


@dataclass(frozen=True, order=True)
class EntityCount:
    """How often an entity type was found in a column (``""`` for plain text)."""

    column: str
    entity_type: str
    count: int

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {"column": self.column, "entity_type": self.entity_type, "count": self.count}

    @classmethod
    def from_document(cls, document: object) -> EntityCount:
        """Read the JSON object; :raises ContractError: when it breaks the schema."""
        fields = Fields(document, "entity count")
        count = cls(fields.text("column"), fields.text("entity_type"), fields.count("count"))
        fields.end()
        return count


@dataclass(frozen=True)
class Manifest:
    """A masked copy: its objects, what masked it, and what was found and masked."""

    objects: tuple[ObjectEntry, ...]
    profile: str
    profile_digest: str
    model: str
    code_version: str
    counts: tuple[EntityCount, ...]

    @property
    def size(self) -> int:
        """All objects together, in bytes."""
        return sum(entry.size for entry in self.objects)

    @property
    def rows(self) -> int:
        """All objects together, in records."""
        return sum(entry.rows for entry in self.objects)

    @cached_property
    def digest(self) -> str:
        """``sha256:<hex>`` over the canonical bytes of :meth:`to_document`."""
        return document_digest(self.to_document())

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object, in the one order that the digest is taken over."""
        return {
            "version": MANIFEST_VERSION,
            "objects": [e.to_document() for e in sorted(self.objects, key=lambda e: e.uri)],
            "profile": self.profile,
            "profile_digest": self.profile_digest,
            "model": self.model,
            "code_version": self.code_version,
            "counts": [count.to_document() for count in sorted(self.counts)],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Manifest:
        """Read the JSON object; :raises ContractError: when it breaks the schema."""
        fields = Fields(document, "manifest")
        fields.version(MANIFEST_VERSION)
        manifest = cls(
            objects=tuple(ObjectEntry.from_document(item) for item in fields.items("objects")),
            profile=fields.text("profile"),
            profile_digest=require_digest(fields.raw("profile_digest"), "manifest: profile_digest"),
            model=fields.text("model"),
            code_version=fields.text("code_version"),
            counts=tuple(EntityCount.from_document(item) for item in fields.items("counts")),
        )
        fields.end()
        return manifest


@dataclass(frozen=True)
class Reference:
    """Where a manifest or evidence document lies, and the digest it must have."""

    uri: str
    digest: str

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object: what an operator hands on through XCom."""
        return {"uri": self.uri, "digest": self.digest}

    @classmethod
    def from_document(cls, document: object) -> Reference:
        """Read the JSON object; :raises ContractError: when it breaks the schema."""
        fields = Fields(document, "reference")
        reference = cls(fields.text("uri"), require_digest(fields.raw("digest"), "reference"))
        fields.end()
        return reference
