"""Registration: an intake becomes a request once its gate is parked on that very try.

From then on the request is the server's: the ask is pinned with the policy, the sink and the
code as they stand, and the inbox row shows the server's rendering instead of the task's text.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from airflow.utils.state import TaskInstanceState
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control import airflow_seams, announcements, dag_graph, grants, settlement, signing_key
from airflow_approvals.control.intake import CONFLICT
from airflow_approvals.control.pins import Pins
from airflow_approvals.control.requesters import Requesters, requesters_of
from airflow_approvals.control.views import show
from airflow_approvals.core.ask import Ask
from airflow_approvals.core.models import GrantState, Place, RequestState
from airflow_approvals.core.policy import NOTHING_ALLOWS_IT, Effect, Facts, Policy
from airflow_approvals.store import ledger, policies
from airflow_approvals.store.tables import GrantRow, IntakeRow, RequestRow

#: An intake whose gate has not parked after this long belongs to a task that died.
ABANDONED_AFTER = timedelta(hours=1)


def new_intakes(session: Session, *, limit: int = 100) -> Sequence[IntakeRow]:
    """Return intakes that may be ready to become requests, oldest first."""
    found = select(IntakeRow).where(IntakeRow.state == "new").order_by(IntakeRow.id).limit(limit)
    return list(session.scalars(found))


def register(session: Session, intake_id: int, *, now: datetime) -> RequestRow | None:
    """Turn one intake into a request, when its gate is ready for it.

    :returns: the request, or ``None`` while the gate is still on its way (or has gone).
    """
    intake = session.get(IntakeRow, intake_id)
    if intake is None or intake.state != "new":
        return None
    parked = airflow_seams.lock_gate(session, intake.place)
    session.refresh(intake, with_for_update=True)
    if intake.state != "new":
        return None
    if parked is None or not parked.is_try(intake.ti_id, intake.try_number):
        intake.state = "abandoned"
        return None
    if not parked.is_waiting:
        if parked.ti.state not in _ON_ITS_WAY or now - intake.received_at > ABANDONED_AFTER:
            intake.state = "abandoned"
        return None
    return _register_parked(session, parked, intake, now=now)


_ON_ITS_WAY = (TaskInstanceState.RUNNING, TaskInstanceState.QUEUED, TaskInstanceState.SCHEDULED)


def _register_parked(
    session: Session, parked: airflow_seams.Parked, intake: IntakeRow, *, now: datetime
) -> RequestRow | None:
    dag = dag_graph.load_dag(session, parked.ti)
    if dag is None or not dag_graph.is_gate(dag.task_dict[intake.task_id]):
        intake.state = "abandoned"
        return None
    intake.state = "promoted"
    ask = Ask.from_document(json.loads(intake.ask))
    if grant := _decided_before(session, parked, ask):
        request = session.get_one(RequestRow, grant.request_id)
        settlement.reapply(session, parked, request, grant, now=now)
        return request
    request = _pin(session, parked, intake, ask, dag_graph.tasks_behind(dag, intake.task_id), now=now)
    _open(session, parked, request, intake, now=now)
    return request


def _decided_before(session: Session, parked: airflow_seams.Parked, ask: Ask) -> GrantRow | None:
    """Return the usable grant that an earlier try of this gate earned for the same ask."""
    grant = grants.of_gate(session, airflow_seams.place_of(parked.ti))
    if grant is None or grant.state not in (GrantState.LIVE, GrantState.BOUND):
        return None
    request = session.get_one(RequestRow, grant.request_id)
    return grant if request.ask_digest == ask.digest else None


def _pin(
    session: Session,
    parked: airflow_seams.Parked,
    intake: IntakeRow,
    ask: Ask,
    consumers: frozenset[str],
    *,
    now: datetime,
) -> RequestRow:
    policy = policies.active_policy(session)
    pins = _pins(session, parked, policy, ask, consumers)
    requesters = requesters_of(session, intake.place)
    ttl = min(pins.bar.request_ttl, timedelta(seconds=ask.timeout_seconds))
    request = RequestRow(
        dag_id=intake.dag_id,
        run_id=intake.run_id,
        task_id=intake.task_id,
        map_index=intake.map_index,
        id=secrets.token_hex(16),
        ti_id=intake.ti_id,
        try_number=intake.try_number,
        state=RequestState.PENDING,
        ask=intake.ask,
        ask_digest=intake.ask_digest,
        manifest_digest=ask.data.digest,
        action=ask.action,
        sink=ask.sink,
        label=ask.label.word,
        policy_digest=policy.digest if policy else "",
        pinned=pins.to_text(),
        requesters=requesters.to_text(),
        unattributed=requesters.unattributed,
        subject="",
        body="",
        created_at=now,
        # The clock starts when the task asked, not when the dispatcher came round.
        expires_at=intake.received_at + ttl,
    )
    session.add(request)
    session.flush()
    return request


def _pins(
    session: Session,
    parked: airflow_seams.Parked,
    policy: Policy | None,
    ask: Ask,
    consumers: frozenset[str],
) -> Pins:
    bar = policy.judge(Facts(ask.action, ask.sink, ask.label)) if policy else NOTHING_ALLOWS_IT
    sink = policy.sinks.get(ask.sink) if policy else None
    parts = airflow_seams.connection_parts(sink.connection) if sink else None
    number, bundle_version = airflow_seams.dag_version(session, parked.ti)
    return Pins(
        bar=bar,
        connection=sink.connection if sink else "",
        uri_prefix=sink.uri_prefix if sink else "",
        assurance=str(sink.assurance) if sink else "",
        fingerprint=signing_key.load().fingerprint(parts) if parts else "",
        dag_hash=airflow_seams.dag_hash(session, parked.ti),
        dag_version=number,
        bundle_version=bundle_version,
        consumers=tuple(sorted(consumers)),
        dev_mode=policy.dev_mode if policy else False,
    )


def _open(
    session: Session, parked: airflow_seams.Parked, request: RequestRow, intake: IntakeRow, *, now: datetime
) -> None:
    """Enter and announce the request, and settle at once what needs no person."""
    show(session, parked, request)
    pins = Pins.from_text(request.pinned)
    details = {
        "ask": request.ask_digest,
        "manifest": request.manifest_digest,
        "sink": request.sink,
        "action": request.action,
        "label": request.label,
        "policy": request.policy_digest,
        "rules": list(pins.bar.rules),
        "requesters": [list(member) for member in Requesters.from_text(request.requesters).members],
        "expires_at": request.expires_at.isoformat(),
        "not_evidence": pins.dev_mode,
    }
    ledger.append(
        session,
        "request_registered",
        at=now,
        request_id=request.id,
        place=request.place,
        details=details,
    )
    verdict = _without_people(session, request, pins, intake)
    if verdict is None:
        announcements.enqueue_request(session, request, now=now)
    else:
        settlement.settle(session, parked, request, *verdict, now=now)


def _without_people(
    session: Session, request: RequestRow, pins: Pins, intake: IntakeRow
) -> tuple[RequestState, str] | None:
    if _has_conflict(session, intake):
        return RequestState.CONFLICT, CONFLICT
    if pins.bar.effect == Effect.FORBID:
        return RequestState.FORBIDDEN, _why_forbidden(request, pins)
    if not pins.fingerprint:
        return RequestState.FORBIDDEN, f"The sink's connection {pins.connection} is not defined in Airflow."
    if pins.bar.effect == Effect.PERMIT:
        return RequestState.APPROVED, f"Permitted without a vote by rule {', '.join(pins.bar.rules)}."
    return None


def _why_forbidden(request: RequestRow, pins: Pins) -> str:
    if not request.policy_digest:
        return "No policy is active, so nothing is allowed."
    if pins.bar.rules:
        return f"Forbidden by rule {', '.join(pins.bar.rules)}."
    return f"No rule of the policy allows {request.action} of {request.label} data to {request.sink}."


def _has_conflict(session: Session, intake: IntakeRow) -> bool:
    others = select(IntakeRow.id).where(
        IntakeRow.ti_id == intake.ti_id,
        IntakeRow.try_number == intake.try_number,
        IntakeRow.id != intake.id,
    )
    return session.scalar(others.limit(1)) is not None


def request_at(session: Session, place: Place) -> str | None:
    """Return the id of the request that stands for the gate's present try.

    An intake that the dispatcher has not come to yet is registered here and now.
    """
    ti = airflow_seams.task_instance_at(session, place)
    if ti is None:
        return None
    intake = session.scalar(
        select(IntakeRow).where(
            IntakeRow.ti_id == str(ti.id), IntakeRow.try_number == ti.try_number, IntakeRow.state == "new"
        )
    )
    if intake is not None:
        register(session, intake.id, now=datetime.now(UTC))
    newest = (
        select(RequestRow.id)
        .where(
            RequestRow.dag_id == place.dag_id,
            RequestRow.run_id == place.run_id,
            RequestRow.task_id == place.task_id,
            RequestRow.map_index == place.map_index,
        )
        .order_by(RequestRow.created_at.desc())
        .limit(1)
    )
    return session.scalar(newest)
