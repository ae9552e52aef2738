"""The receipt: what was released, where to, and by which grant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_approvals.core.digest import require_digest
from airflow_approvals.core.documents import Fields

RECEIPT_VERSION = 1


@dataclass(frozen=True, order=True)
class ReleasedObject:
    """One released object: its name below the destination, digest and size in bytes."""

    uri: str
    sha256: str
    size: int

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {"uri": self.uri, "sha256": self.sha256, "bytes": self.size}

    @classmethod
    def from_document(cls, document: object) -> ReleasedObject:
        """Read the JSON object; :raises ContractError: when it breaks the schema."""
        fields = Fields(document, "receipt object")
        released = cls(
            uri=fields.text("uri"),
            sha256=require_digest(fields.raw("sha256"), "receipt object: sha256"),
            size=fields.count("bytes"),
        )
        fields.end()
        return released


@dataclass(frozen=True)
class Receipt:
    """Proof that the objects of a manifest lie at the destination, as they were hashed.

    ``grant`` is the id of the grant, ``None`` where a release needs none.
    """

    destination: str
    manifest_digest: str
    grant: str | None
    objects: tuple[ReleasedObject, ...]

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "version": RECEIPT_VERSION,
            "destination": self.destination,
            "manifest_digest": self.manifest_digest,
            "grant": self.grant,
            "objects": [released.to_document() for released in sorted(self.objects)],
        }

    @classmethod
    def from_document(cls, document: object) -> Receipt:
        """Read the JSON object; :raises ContractError: when it breaks the schema."""
        fields = Fields(document, "receipt")
        fields.version(RECEIPT_VERSION)
        receipt = cls(
            destination=fields.text("destination"),
            manifest_digest=require_digest(fields.raw("manifest_digest"), "receipt: manifest"),
            grant=fields.optional_text("grant"),
            objects=tuple(ReleasedObject.from_document(item) for item in fields.items("objects")),
        )
        fields.end()
        return receipt
