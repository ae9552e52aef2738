"""Ledger entries, the public keys, and the control plane's health."""

from __future__ import annotations

from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.api.auth import Caller, SignedIn, signed_in
from airflow_approvals.api.refusals import RefusedError
from airflow_approvals.api.schemas import ErrorOut, HealthOut, LedgerPage
from airflow_approvals.control import health, signing_key
from airflow_approvals.core.models import Refusal
from airflow_approvals.identity import users
from airflow_approvals.store import ledger
from airflow_approvals.store.session import run_read
from airflow_approvals.store.tables import RequestRow

#: What a BIGINT column takes.
LARGEST_SEQUENCE = 2**63 - 1

router = APIRouter(
    tags=["records"],
    dependencies=[Depends(signed_in)],
    responses={code: {"model": ErrorOut} for code in (401, 403, 409)},
)


@router.get("/api/v1/ledger/entries")
def ledger_entries(
    caller: SignedIn,
    after: Annotated[int, Query(ge=0, le=LARGEST_SEQUENCE)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    request_id: str | None = None,
) -> LedgerPage:
    """Read ledger entries in sequence. Needs Airflow's permission to read the audit log.

    Left out are those of DAGs whose audit log the caller may not read, so a page may hold fewer.
    """
    _require_audit(caller)
    entries = run_read(
        lambda session: ledger.entries(session, after=after, limit=limit, request_id=request_id)
    )
    dags = run_read(lambda session: _dags_of(session, entries))
    readable = {""} | {one for one in set(dags) - {""} if users.may_read_audit(caller.user, one)}
    return LedgerPage(
        entries=[entry for entry, dag_id in zip(entries, dags, strict=True) if dag_id in readable],
        next=entries[-1]["seq"] if len(entries) == limit else None,
    )


def _dags_of(session: Session, entries: list[dict[str, Any]]) -> list[str]:
    """Return the DAG that each entry is about, itself or by its request; empty for one about none."""
    asked = {entry["request"] for entry in entries if entry["request"] and not entry["dag_id"]}
    found = select(RequestRow.id, RequestRow.dag_id).where(RequestRow.id.in_(asked))
    dag_of = {row.id: row.dag_id for row in session.execute(found)}
    return [entry["dag_id"] or dag_of.get(entry["request"], "") for entry in entries]


@router.get("/api/v1/jwks")
def jwks() -> dict[str, Any]:
    """Return the public keys that verify grants (RFC 7517, Ed25519 as in RFC 8037)."""
    return signing_key.load().jwks()


@router.get("/health")
def read_health(response: Response) -> HealthOut:
    """Return the control plane's health; 503 when something needs a person."""
    report = HealthOut(**health.report())
    response.status_code = 200 if report.healthy else 503
    return report


def _require_audit(caller: Caller) -> None:
    manager = get_auth_manager()
    allowed = manager.is_authorized_dag(
        method="GET", access_entity=DagAccessEntity.AUDIT_LOG, user=caller.user
    )
    if not allowed:
        raise RefusedError(Refusal("not_permitted", "Airflow does not let you read the audit log.", 403))
