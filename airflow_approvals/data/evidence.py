"""Writing evidence beside the data it is about."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_approvals.core.digest import canonical_bytes
from airflow_approvals.core.evidence import Evidence
from airflow_approvals.core.manifest import Reference
from airflow_approvals.data.places import EVIDENCE_NAME, MANIFEST_NAME, Place
from airflow_approvals.errors import DataError


def write_evidence(
    evidence: Evidence,
    source: str | Reference | Mapping[str, str],
    *,
    target: str | None = None,
    conn_id: str | None = None,
) -> Reference:
    """Write evidence as canonical JSON and return its reference.

    :param source: what was classified; without a target the evidence goes beside it.
    :raises DataError: when it cannot be written, or the source is a glob and no target is given.
    """
    place = _beside(source, conn_id) if target is None else Place.of(target, conn_id)
    place.write_bytes(canonical_bytes(evidence.to_document()))
    return Reference(place.uri, evidence.digest)


def _beside(source: str | Reference | Mapping[str, str], conn_id: str | None) -> Place:
    if isinstance(source, Mapping):
        source = Reference.from_document(source)
    place = Place.of(source.uri if isinstance(source, Reference) else source, conn_id)
    if place.name == MANIFEST_NAME:
        return place.parent.child(EVIDENCE_NAME)
    if place.is_pattern and not place.exists():
        raise DataError("The evidence of a glob needs a place.", "Say where with target.")
    return place.child(EVIDENCE_NAME) if place.is_folder() else place.sibling(EVIDENCE_NAME)
