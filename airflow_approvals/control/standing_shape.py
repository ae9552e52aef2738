"""The shape of a request: what has to stay alike while a standing approval carries over.

Names, sizes, row counts and content may change from one run to the next; kinds may not. Only data
whose kinds are known whole have a shape: an object that is not listed or was not scanned could
hold anything.
"""

from __future__ import annotations

from airflow_approvals.control import judging
from airflow_approvals.control.pins import Pins
from airflow_approvals.core.ask import MAX_LISTED_COUNTS, Ask
from airflow_approvals.core.digest import document_digest
from airflow_approvals.store.tables import RequestRow


def unknown_in(ask: Ask) -> str | None:
    """Return what is not known about the data, ``None`` when they have a shape."""
    evidence = ask.evidence_of_this_data
    if evidence is None:
        return "nobody has classified the data"
    if evidence.not_scanned:
        return "part of the data was not scanned"
    if ask.data.object_count > len(ask.data.objects) or len(ask.data.counts) >= MAX_LISTED_COUNTS:
        return "the request does not list all objects and counts"
    return None


def unknown_code(request: RequestRow) -> str | None:
    """Return why nobody can tell that later runs run by the same code, ``None`` when they can.

    The DAG file's hash says nothing of the modules it imports; only a bundle's version does.
    """
    if Pins.from_text(request.pinned).bundle_version:
        return None
    return "the DAG's bundle keeps no versions, so its code may change unseen"


def digest(request: RequestRow) -> str:
    """Return ``sha256:<hex>`` over the shape."""
    return document_digest(_parts(request))


def differing(one: RequestRow, other: RequestRow) -> list[str]:
    """Name the parts in which two requests differ, in words for people."""
    a, b = _parts(one), _parts(other)
    return sorted(name for name in a if a[name] != b[name])


def _parts(request: RequestRow) -> dict[str, object]:
    ask, pins = judging.ask_of(request), Pins.from_text(request.pinned)
    data, evidence = ask.data, ask.evidence_of_this_data
    residual = [] if evidence is None else [[kind, str(count)] for kind, count in sorted(evidence.findings)]
    scanner = [] if evidence is None else [evidence.engine, evidence.model]
    formats = {(entry.format, entry.columns) for entry in data.objects}
    kinds = {(count.column, count.entity_type) for count in data.counts}
    return {
        "what is known of the data": unknown_in(ask),
        "columns": [[name, list(columns)] for name, columns in sorted(formats)],
        "profile": [data.profile, data.profile_digest, data.model],
        "label": ask.label.word,
        "residual risk": residual,
        "scanner": scanner,
        "kinds of what was masked": [list(kind) for kind in sorted(kinds)],
        "destination": [pins.connection, pins.uri_prefix, pins.assurance, pins.fingerprint],
        "policy": request.policy_digest,
        "code": [pins.dag_hash, pins.source_hash, pins.bundle_version],
    }
