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

#: 2 adds ``source_hash``. A grant of version 1 can still be read and verified; it opens nothing.
GRANT_VERSION = 2
_WITHOUT_SOURCE = 1
#: Servers' clocks may be this many seconds apart before a fresh grant is taken for a future one.
CLOCK_SKEW_SECONDS = 60
#: What a grant says about itself when it was issued under ``dev_mode``.
NOT_EVIDENCE = "NOT EVIDENCE"


def release_folder(uri_prefix: str, manifest_digest: str, grant: str) -> str:
    """Return where a release goes: one folder per data and grant, so that a retry finds what it began."""
    data = manifest_digest.removeprefix("sha256:")[:16]
    return f"{uri_prefix.rstrip('/')}/{data}-{grant[:8]}"


@dataclass(frozen=True)
class Claims:
    """What a grant binds.

    ``manifest``, ``dag_hash`` and ``policy`` are digests or hashes as the server recorded them,
    ``source_hash`` is Airflow's over the DAG file (``dag_hash`` knows no function bodies),
    ``fingerprint`` is keyed and over the sink's Connection, ``task_id`` and ``map_index`` are
    the gate's. ``not_before`` and ``not_after`` are Unix seconds; at ``not_after`` it is over.
    ``break_glass`` says that one person opened the gate in an emergency, without the votes.
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
    break_glass: bool = False
    source_hash: str = ""
    version: int = GRANT_VERSION

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object that is signed, in the form of its version."""
        document = {**asdict(self), "nbf": self.not_before, "exp": self.not_after}
        if self.version == _WITHOUT_SOURCE:
            del document["source_hash"]
        if self.dev_mode:
            document["evidence"] = NOT_EVIDENCE
        return document

    @classmethod
    def from_document(cls, document: object) -> Claims:
        """Read the JSON object; :raises ContractError: when it breaks the schema."""
        taken = Fields(document, "grant")
        version = taken.count("version")
        if version not in (_WITHOUT_SOURCE, GRANT_VERSION):
            raise ContractError(f"grant: version must be {_WITHOUT_SOURCE} or {GRANT_VERSION}.")
        absent = {"version"} if version == GRANT_VERSION else {"version", "source_hash"}
        signed = [field for field in fields(cls) if field.name not in absent]
        values = {field.name: _claim(taken, field.name, str(field.type)) for field in signed}
        claims = cls(**values, version=version)
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
    source_hash: str
    bundle_version: str
    policy: str
    now: int


def first_difference(claims: Claims, observed: Observed) -> str | None:
    """Return the name of the first claim that no longer holds, ``None`` when all hold.

    A grant without a fingerprint never holds: nothing would tie it to a destination. Nor does one
    without a source hash, which nothing ties to the code that people were asked about.
    """
    for field in fields(observed):
        if field.name != "now" and getattr(claims, field.name) != getattr(observed, field.name):
            return field.name
    for name in ("fingerprint", "source_hash"):
        if not getattr(claims, name):
            return name
    if observed.now < claims.not_before - CLOCK_SKEW_SECONDS:
        return "not_before"
    return "not_after" if observed.now >= claims.not_after else None
