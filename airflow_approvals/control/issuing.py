"""Issuing: what an approval permits, signed, and how the gate hands it on."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from airflow_approvals.control import grants, signing_key
from airflow_approvals.control.pins import Pins
from airflow_approvals.core.grant import Claims
from airflow_approvals.core.models import GrantState
from airflow_approvals.store import policies
from airflow_approvals.store.release_tables import BreakGlassRow
from airflow_approvals.store.tables import GrantRow, RequestRow


def issue(session: Session, request: RequestRow, pins: Pins, *, now: datetime) -> GrantRow:
    """Issue the grant of an approved request: sign its claims and store them.

    :raises ConfigurationError: when the signing key cannot be read.
    """
    active = policies.active_policy(session)
    claims = Claims(
        grant=secrets.token_hex(16),
        request=request.id,
        manifest=request.manifest_digest,
        sink=request.sink,
        connection=pins.connection,
        fingerprint=pins.fingerprint,
        action=request.action,
        dag_id=request.dag_id,
        run_id=request.run_id,
        task_id=request.task_id,
        map_index=request.map_index,
        dag_hash=pins.dag_hash,
        source_hash=pins.source_hash,
        bundle_version=pins.bundle_version,
        # It was judged by this one as well, whichever it was registered under.
        policy=active.digest if active is not None else request.policy_digest,
        assurance=pins.assurance,
        not_before=int(now.timestamp()),
        not_after=int((now + pins.bar.grant_ttl).timestamp()),
        dev_mode=pins.dev_mode,
        break_glass=session.get(BreakGlassRow, request.id) is not None,
    )
    row = GrantRow(
        dag_id=request.dag_id,
        run_id=request.run_id,
        task_id=request.task_id,
        map_index=request.map_index,
        id=claims.grant,
        request_id=request.id,
        state=GrantState.LIVE,
        claims=json.dumps(claims.to_document(), sort_keys=True),
        jws=signing_key.load().sign(claims.to_document()),
        path_tries="[]",
        issued_at=now,
        # The whole second that was signed.
        not_after=datetime.fromtimestamp(claims.not_after, UTC),
    )
    session.add(row)
    session.flush()
    details = {
        "manifest": claims.manifest,
        "sink": claims.sink,
        "assurance": claims.assurance,
        "policy": claims.policy,
    }
    grants.enter(session, "grant_issued", row, at=now, details=details)
    return row


def reference(grant: GrantRow, uri_prefix: str) -> dict[str, Any]:
    """Return what the gate hands to the release: the grant, and where it is good for."""
    claims = json.loads(grant.claims)
    return {
        "request": grant.request_id,
        "grant": grant.id,
        "jws": grant.jws,
        "manifest_digest": claims["manifest"],
        "sink": claims["sink"],
        "connection": claims["connection"],
        "uri_prefix": uri_prefix,
        "not_after": claims["not_after"],
    }
