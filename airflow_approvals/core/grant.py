"""The claims of a grant, and the check that all of them still hold.

A grant is good for this content, at this place, in this time. Every claim is signed and every
claim is checked at every use; the first that no longer holds is named.

Source: RFC 7519, 4.1 (``nbf`` and ``exp``, so that a stock JWT library enforces the time too),
https://www.rfc-editor.org/rfc/rfc7519#section-4.1.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from airflow_approvals.core.documents import Fields
from airflow_approvals.core.models import NO_MAP_INDEX
from airflow_approvals.errors import ContractError

GRANT_VERSION = 1
#: Servers' clocks may be this many seconds apart before a fresh grant is taken for a future one.
CLOCK_SKEW_SECONDS = 60
#: What a grant says about itself when it was issued under ``dev_mode``.
NOT_EVIDENCE = "NOT EVIDENCE"


@dataclass(frozen=True)
class Claims:
    """What a grant binds.

    ``manifest``, ``dag_hash`` and ``policy`` are digests or hashes as the server recorded them,
    ``fingerprint`` is keyed and over the sink's Connection, ``task_id`` and ``map_index`` are
    the gate's. ``not_before`` and ``not_after`` are Unix seconds; at ``not_after`` it is over.
    """

    grant: str
    request: str
    manifest: str
    sink: str
    connection: str
    fingerprint: str
    action: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    dag_hash: str
    bundle_version: str
    policy: str
    assurance: str
    not_before: int
    not_after: int
    dev_mode: bool

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object that is signed."""
        document = {
            "version": GRANT_VERSION,
            **asdict(self),
            "nbf": self.not_before,
            "exp": self.not_after,
        }
        if self.dev_mode:
            document["evidence"] = NOT_EVIDENCE
        return document

    @classmethod
    def from_document(cls, document: object) -> Claims:
        """Read the JSON object; :raises ContractError: when it breaks the schema."""
        taken = Fields(document, "grant")
        taken.version(GRANT_VERSION)
        values = {field.name: _claim(taken, field.name, str(field.type)) for field in fields(cls)}
        claims = cls(**values)
        if (taken.count("nbf"), taken.count("exp")) != (claims.not_before, claims.not_after):
            raise ContractError("grant: nbf and exp must repeat not_before and not_after.")
        if taken.raw("evidence") != (NOT_EVIDENCE if claims.dev_mode else None):
            raise ContractError("grant: evidence must be stamped exactly when dev_mode is true.")
        taken.end()
        return claims


def _claim(taken: Fields, name: str, kind: str) -> Any:
    if kind == "str":
        return taken.text(name)
    if kind == "int" and name != "map_index":
        return taken.count(name)
    value = taken.raw(name)
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "int" and type(value) is int and value >= NO_MAP_INDEX:
        return value
    raise ContractError(f"grant: {name} has no valid form.")


@dataclass(frozen=True)
class Observed:
    """What the server sees when a grant is used; ``now`` in Unix seconds."""

    manifest: str
    sink: str
    connection: str
    fingerprint: str
    action: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    dag_hash: str
    bundle_version: str
    policy: str
    now: int


def first_difference(claims: Claims, observed: Observed) -> str | None:
    """Return the name of the first claim that no longer holds, ``None`` when all hold.

    A grant without a fingerprint never holds: nothing would tie it to a destination.
    """
    for field in fields(observed):
        if field.name != "now" and getattr(claims, field.name) != getattr(observed, field.name):
            return field.name
    if not claims.fingerprint:
        return "fingerprint"
    if observed.now < claims.not_before - CLOCK_SKEW_SECONDS:
        return "not_before"
    return "not_after" if observed.now >= claims.not_after else None
