"""Registration: an intake becomes a request once its gate is parked on that very try.

From then on the request is the server's: the ask is pinned with the policy, the sink and the
code as they stand, and the inbox row shows the server's rendering instead of the task's text.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from airflow.utils.state import TaskInstanceState
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control import airflow_seams, announcements, dag_graph, grants, settlement, signing_key
from airflow_approvals.control.intake import CONFLICT
from airflow_approvals.control.pins import Pins
from airflow_approvals.control.requesters import Requesters, requesters_of
from airflow_approvals.control.views import show
from airflow_approvals.core.ask import Ask
from airflow_approvals.core.models import Place, RequestState
from airflow_approvals.core.policy import NOTHING_ALLOWS_IT, Effect, Facts, Policy
from airflow_approvals.store import ledger, policies
from airflow_approvals.store.session import run_read, run_transaction
from airflow_approvals.store.tables import GrantRow, IntakeRow, RequestRow

#: An intake whose gate has not parked after this long belongs to a task that died.
ABANDONED_AFTER = timedelta(hours=1)


def new_intakes(session: Session, *, limit: int = 100) -> Sequence[IntakeRow]:
    """Return intakes that may be ready to become requests, oldest first."""
    found = select(IntakeRow).where(IntakeRow.state == "new").order_by(IntakeRow.id).limit(limit)
    return list(session.scalars(found))


def register(
    session: Session,
    intake_id: int,
    *,
    now: datetime,
    lookup: airflow_seams.Lookup = airflow_seams.connection_parts,
) -> RequestRow | None:
    """Turn one intake into a request, when its gate is ready for it.

    :param lookup: gives what identifies a Connection; see :func:`lookup_before`.
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
    grants.lock_run(session, intake.place)
    return _register_parked(session, parked, intake, now=now, lookup=lookup)


def lookup_before(session: Session, intake_id: int) -> str | None:
    """Return the Connection that registering this intake will ask for.

    Reading a Connection takes a database connection of its own, so it is read before the
    registering transaction holds locks; with both at once the pool could run dry.
    """
    intake = session.get(IntakeRow, intake_id)
    policy = policies.active_policy(session)
    if intake is None or policy is None:
        return None
    sink = policy.sinks.get(json.loads(intake.ask).get("sink", ""))
    return sink.connection if sink is not None else None


def register_now(intake_id: int) -> str | None:
    """Register an intake in a transaction of its own; return the request's id."""
    conn_id = run_read(partial(lookup_before, intake_id=intake_id))
    known = {conn_id: airflow_seams.connection_parts(conn_id)} if conn_id is not None else {}

    def lookup(wanted: str) -> tuple[str, ...] | None:
        return known[wanted] if wanted in known else airflow_seams.connection_parts(wanted)

    def work(session: Session) -> str | None:
        request = register(session, intake_id, now=datetime.now(UTC), lookup=lookup)
        return request.id if request is not None else None

    return run_transaction(work)


def give_up(session: Session, intake_id: int, why: str) -> None:
    """Put an intake aside that cannot be registered, so that it holds up no other."""
    intake = session.get(IntakeRow, intake_id, with_for_update=True)
    if intake is None or intake.state != "new":
        return
    intake.state = "failed"
    details = {"ask": intake.ask_digest, "try_number": intake.try_number, "because": why}
    ledger.append(session, "intake_invalid", at=datetime.now(UTC), place=intake.place, details=details)


_ON_ITS_WAY = (TaskInstanceState.RUNNING, TaskInstanceState.QUEUED, TaskInstanceState.SCHEDULED)


def _register_parked(
    session: Session,
    parked: airflow_seams.Parked,
    intake: IntakeRow,
    *,
    now: datetime,
    lookup: airflow_seams.Lookup,
) -> RequestRow | None:
    dag = dag_graph.load_dag(session, parked.ti)
    if dag is None or not dag_graph.is_gate(dag.task_dict[intake.task_id]):
        intake.state = "abandoned"
        return None
    intake.state = "promoted"
    ask = Ask.from_document(json.loads(intake.ask))
    if decided := _decided_before(session, parked, ask):
        request, grant = decided
        settlement.reapply(session, parked, request, grant, now=now)
        return request
    behind = dag_graph.tasks_behind(dag, intake.task_id)
    request = _pin(session, parked, intake, ask, behind, now=now, lookup=lookup)
    _open(session, parked, request, intake, now=now)
    return request


def _decided_before(
    session: Session, parked: airflow_seams.Parked, ask: Ask
) -> tuple[RequestRow, GrantRow | None] | None:
    """Return what was decided on the same ask before Airflow retried the gate, with its usable grant.

    After an expiry, or once somebody cleared the gate, people are asked again.
    """
    request = newest_request(session, airflow_seams.place_of(parked.ti))
    if request is None or request.ask_digest != ask.digest or request.gate_tries != parked.ti.max_tries:
        return None
    if request.state == RequestState.APPROVED:
        grant = grants.of_gate(session, request.place)
        return (request, grant) if grant is not None and grant.state in grants.USABLE else None
    return (request, None) if request.state in _SHUT_FOR_GOOD else None


_SHUT_FOR_GOOD = (
    RequestState.REJECTED,
    RequestState.WITHDRAWN,
    RequestState.FORBIDDEN,
    RequestState.CONFLICT,
)


def _pin(
    session: Session,
    parked: airflow_seams.Parked,
    intake: IntakeRow,
    ask: Ask,
    consumers: frozenset[str],
    *,
    now: datetime,
    lookup: airflow_seams.Lookup,
) -> RequestRow:
    policy = policies.active_policy(session)
    pins = _pins(session, parked, policy, ask, consumers, lookup)
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
    lookup: airflow_seams.Lookup,
) -> Pins:
    bar = policy.judge(Facts(ask.action, ask.sink, ask.label)) if policy else NOTHING_ALLOWS_IT
    sink = policy.sinks.get(ask.sink) if policy else None
    parts = lookup(sink.connection) if sink else None
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


def request_at(place: Place) -> str | None:
    """Return the id of the request that stands for the gate's present try.

    An intake that the dispatcher has not come to yet is registered here and now.
    """
    intake_id = run_read(partial(_waiting_intake, place=place))
    if intake_id is not None:
        register_now(intake_id)
    return run_read(partial(_newest_id, place=place))


def _waiting_intake(session: Session, place: Place) -> int | None:
    ti = airflow_seams.task_instance_at(session, place)
    if ti is None:
        return None
    return session.scalar(
        select(IntakeRow.id).where(
            IntakeRow.ti_id == str(ti.id), IntakeRow.try_number == ti.try_number, IntakeRow.state == "new"
        )
    )


def _newest_id(session: Session, place: Place) -> str | None:
    request = newest_request(session, place)
    return request.id if request is not None else None


def newest_request(session: Session, place: Place) -> RequestRow | None:
    """Return the newest request of a gate."""
    return session.scalar(
        select(RequestRow)
        .where(
            RequestRow.dag_id == place.dag_id,
            RequestRow.run_id == place.run_id,
            RequestRow.task_id == place.task_id,
            RequestRow.map_index == place.map_index,
        )
        .order_by(RequestRow.created_at.desc())
        .limit(1)
    )
