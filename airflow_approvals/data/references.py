"""Loading manifests and evidence by reference: only what has the digest is what was meant."""

from __future__ import annotations

import json
from typing import Any

from airflow_approvals.core.digest import sha256_digest
from airflow_approvals.core.evidence import Evidence
from airflow_approvals.core.manifest import Manifest, Reference
from airflow_approvals.data.places import Place
from airflow_approvals.errors import ContractError, IntegrityError

#: A manifest of a hundred thousand objects takes about half of this.
MAX_DOCUMENT_BYTES = 64 * 1024 * 1024


def load_manifest(reference: Reference, place: Place | None = None) -> Manifest:
    """Return the manifest that lies where the reference says.

    :param place: read it there, instead of opening what the reference names.
    :raises DataError: when it cannot be read.
    :raises IntegrityError: when its bytes have another digest.
    :raises ContractError: when it breaks the schema.
    """
    manifest = Manifest.from_document(_document(reference, "manifest", place))
    _require(manifest.digest, reference, "manifest")
    return manifest


def load_evidence(reference: Reference) -> Evidence:
    """Return the evidence that lies where the reference says.

    :raises DataError: when it cannot be read.
    :raises IntegrityError: when its bytes have another digest.
    :raises ContractError: when it breaks the schema.
    """
    evidence = Evidence.from_document(_document(reference, "evidence"))
    _require(evidence.digest, reference, "evidence")
    return evidence


def find_manifest(place: Place) -> Reference:
    """Return a reference to the manifest at a place, by the digest it has now."""
    return Reference(place.uri, sha256_digest(place.read_bytes(MAX_DOCUMENT_BYTES)))


def read_document(data: bytes, what: str) -> Any:
    """Parse JSON bytes; :raises ContractError: when they are none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        pass
    # Raised outside the handler: the decoder's error carries what it read.
    raise ContractError(f"The {what} is not a JSON document.")


def _document(reference: Reference, what: str, place: Place | None = None) -> Any:
    data = (place or Place.of(reference.uri)).read_bytes(MAX_DOCUMENT_BYTES)
    _require(sha256_digest(data), reference, what)
    return read_document(data, what)


def _require(digest: str, reference: Reference, what: str) -> None:
    if digest != reference.digest:
        raise IntegrityError(
            f"The {what} at {Place.of(reference.uri).shown} is not the one that was meant: "
            "its digest differs.",
            "It was changed or replaced after it was written; mask and ask again.",
        )
