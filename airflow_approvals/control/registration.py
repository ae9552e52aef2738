"""Registration: an intake becomes a request once its gate is parked on that very try.

From then on the request is the server's: the ask is pinned with the policy, the sink and the
code as they stand, and the inbox row shows the server's rendering instead of the task's text.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control import (
    announcements,
    clears,
    code_authors,
    crowding,
    grants,
    judging,
    pinning,
    settlement,
    standing,
)
from airflow_approvals.control.announcements import Event
from airflow_approvals.control.intake import ABANDONED_AFTER, CONFLICT, ON_ITS_WAY
from airflow_approvals.control.pins import Pins
from airflow_approvals.control.requesters import Requesters
from airflow_approvals.control.views import show
from airflow_approvals.core.ask import Ask
from airflow_approvals.core.bar import Effect, EvidenceDemand
from airflow_approvals.core.demands import first_unmet
from airflow_approvals.core.models import GrantState, Place, RequestState
from airflow_approvals.core.policy import Assurance
from airflow_approvals.identity.directory import Membership
from airflow_approvals.seams import airflow_seams, airflow_seams_connections, dag_graph
from airflow_approvals.store import custody, ledger, policies
from airflow_approvals.store.session import run_read, run_transaction
from airflow_approvals.store.tables import GrantRow, IntakeRow, RequestRow


def register(
    session: Session,
    intake_id: int,
    *,
    now: datetime,
    lookup: airflow_seams.Lookup = airflow_seams.connection_parts,
    authors: Requesters = code_authors.NOT_READ,
    members: Membership | None = None,
) -> RequestRow | None:
    """Turn one intake into a request, when its gate is ready for it.

    :param lookup: gives what identifies a Connection; see :func:`lookup_before`.
    :param authors: who wrote the gate's code, read before for the same reason.
    :param members: who is in which group; read before too.
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
        if parked.ti.state not in ON_ITS_WAY or now - intake.received_at > ABANDONED_AFTER:
            intake.state = "abandoned"
        return None
    grants.lock_run(session, intake.place)
    return _register_parked(session, parked, intake, now=now, lookup=lookup, authors=authors, members=members)


def lookup_before(session: Session, intake_id: int) -> tuple[str, str | None] | None:
    """Return the Connection that registering this intake will ask for, and the team of the DAG.

    Reading a Connection takes a database connection of its own, so it is read before the
    registering transaction holds locks; with both at once the pool could run dry.
    """
    intake = session.get(IntakeRow, intake_id)
    policy = policies.active_policy(session)
    if intake is None or policy is None:
        return None
    sink = policy.sinks.get(json.loads(intake.ask).get("sink", ""))
    if sink is None:
        return None
    return sink.connection, airflow_seams_connections.team_of(session, intake.dag_id)


def register_now(intake_id: int) -> str | None:
    """Register an intake in a transaction of its own; return the request's id."""
    conn_id, team = run_read(partial(lookup_before, intake_id=intake_id)) or (None, None)
    known = {conn_id: airflow_seams.connection_parts(conn_id, team)} if conn_id is not None else {}
    authors = code_authors.answer(run_read(partial(_question, intake_id=intake_id)))
    members = judging.membership_now()

    def lookup(wanted: str) -> tuple[str, ...] | None:
        return known[wanted] if wanted in known else airflow_seams.connection_parts(wanted, team)

    def work(session: Session) -> str | None:
        now = datetime.now(UTC)
        request = register(session, intake_id, now=now, lookup=lookup, authors=authors, members=members)
        return request.id if request is not None else None

    return run_transaction(work)


def _question(session: Session, intake_id: int) -> code_authors.Question | None:
    intake = session.get(IntakeRow, intake_id)
    return code_authors.question(session, intake.place) if intake is not None else None


def give_up(session: Session, intake_id: int, why: str) -> None:
    """Put an intake aside that cannot be registered, and end its gate with a sentence.

    While the gate is still on its way the intake stays: the next round comes here again.
    """
    intake = session.get(IntakeRow, intake_id)
    if intake is None or intake.state != "new":
        return
    parked = airflow_seams.lock_gate(session, intake.place)
    session.refresh(intake, with_for_update=True)
    if intake.state != "new":
        return
    is_its_try = parked is not None and parked.is_try(intake.ti_id, intake.try_number)
    if is_its_try and parked is not None and parked.ti.state in ON_ITS_WAY:
        return
    grants.lock_run(session, intake.place)
    waiting = parked if is_its_try and parked is not None and parked.is_waiting else None
    _turn_away(session, waiting, intake, why, now=datetime.now(UTC))


def _turn_away(
    session: Session, parked: airflow_seams.Parked | None, intake: IntakeRow, why: str, *, now: datetime
) -> None:
    intake.state = "failed"
    if parked is not None:
        settlement.turn_away(session, parked, _UNREGISTERED.format(why=why), now=now)
    details = {"ask": intake.ask_digest, "try_number": intake.try_number, "because": why}
    ledger.append(session, "intake_invalid", at=now, place=intake.place, details=details)


_UNREGISTERED = (
    "The approvals server could not register this request ({why}); its log says more. "
    "Clear the gate to ask again."
)


def _register_parked(
    session: Session,
    parked: airflow_seams.Parked,
    intake: IntakeRow,
    *,
    now: datetime,
    lookup: airflow_seams.Lookup,
    authors: Requesters,
    members: Membership | None,
) -> RequestRow | None:
    dag = dag_graph.load_dag(session, parked.ti)
    if dag is None:
        _turn_away(session, parked, intake, "its DAG cannot be read", now=now)
        return None
    if not dag_graph.is_gate(dag.task_dict[intake.task_id]):
        intake.state = "abandoned"
        return None
    intake.state = "promoted"
    ask = Ask.from_document(json.loads(intake.ask))
    if decided := _decided_before(session, parked, ask, now=now):
        request, grant = decided
        settlement.reapply(session, parked, request, grant, now=now)
        return request
    behind = dag_graph.tasks_behind(dag, intake.task_id)
    request = pinning.pin(session, parked, intake, ask, behind, now=now, lookup=lookup, authors=authors)
    _open(session, parked, request, ask, intake, members, now=now)
    return request


def _decided_before(
    session: Session, parked: airflow_seams.Parked, ask: Ask, *, now: datetime
) -> tuple[RequestRow, GrantRow | None] | None:
    """Return what was decided on the same ask before Airflow retried the gate, with its usable grant.

    After an expiry, a crowd, or a clear of the gate, people are asked again.
    """
    request = newest_request(session, airflow_seams.place_of(parked.ti))
    if request is None or request.ask_digest != ask.digest or request.gate_tries != parked.ti.max_tries:
        return None
    if clears.was_cleared_at_work(session, request):
        return None
    if request.state == RequestState.APPROVED:
        grant = grants.of_gate(session, request.place)
        return (request, grant) if grant is not None and _still_opens(session, grant, now=now) else None
    for_good = request.state in _SHUT_FOR_GOOD and not crowding.was_turned_away(request)
    return (request, None) if for_good else None


def _still_opens(session: Session, grant: GrantRow, *, now: datetime) -> bool:
    """Whether a grant is usable, or the custodian has released by it and the gate has only to be told."""
    if grant.state == GrantState.SPENT:
        return custody.receipt_of(session, grant.request_id) is not None
    return grant.state in grants.USABLE and grant.not_after > now


_SHUT_FOR_GOOD = (
    RequestState.REJECTED,
    RequestState.WITHDRAWN,
    RequestState.FORBIDDEN,
    RequestState.CONFLICT,
)


def _open(
    session: Session,
    parked: airflow_seams.Parked,
    request: RequestRow,
    ask: Ask,
    intake: IntakeRow,
    members: Membership | None,
    *,
    now: datetime,
) -> None:
    """Enter and announce the request, and settle at once what needs no person."""
    # Locked before the ledger's head, as wherever one ends.
    carried = standing.lock(session, request)
    show(session, parked, request, members)
    pins = Pins.from_text(request.pinned)
    requesters = Requesters.from_text(request.requesters)
    details = {
        "ask": request.ask_digest,
        "manifest": request.manifest_digest,
        "sink": request.sink,
        "action": request.action,
        "label": request.label,
        "policy": request.policy_digest,
        "assurance": pins.assurance,
        "endpoint_changed": pins.endpoint_changed,
        "rules": list(pins.bar.rules),
        "requesters": [list(member) for member in requesters.members],
        "requesters_unknown": list(requesters.notes),
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
    verdict = _without_people(session, request, ask, pins, intake)
    verdict = verdict or standing.use(session, request, carried, members, now=now)
    asks_people = verdict is None and pins.bar.effect is not Effect.PERMIT
    if asks_people and crowding.turned_away(session, parked, request, now=now):
        return
    if verdict is None and pins.bar.evidence is EvidenceDemand.VERIFIED:
        # Announced once the custodian has looked: nobody is asked about data on a task's word.
        custody.enqueue(session, request.id, custody.JobKind.VERIFY, now=now)
    elif verdict is None:
        announcements.announce(session, request, Event.REQUESTED, now=now)
    else:
        settlement.settle(session, parked, request, *verdict, now=now)


def _without_people(
    session: Session, request: RequestRow, ask: Ask, pins: Pins, intake: IntakeRow
) -> tuple[RequestState, str] | None:
    if _has_conflict(session, intake):
        return RequestState.CONFLICT, CONFLICT
    if pins.bar.effect == Effect.FORBID:
        return RequestState.FORBIDDEN, _why_forbidden(request, pins)
    if not pins.fingerprint:
        return RequestState.FORBIDDEN, _why_unreachable(pins)
    if unmet := first_unmet(pins.bar, ask, unattributed=request.unattributed):
        return RequestState.FORBIDDEN, unmet
    if pins.bar.effect is Effect.PERMIT and pins.bar.evidence is EvidenceDemand.REPORTED:
        return RequestState.APPROVED, f"Permitted without a vote by rule {', '.join(pins.bar.rules)}."
    return None


def _why_unreachable(pins: Pins) -> str:
    if pins.assurance == Assurance.CONTENT_BOUND:
        return f"No custodian is running that serves connection {pins.connection}."
    return f"The sink's connection {pins.connection} is not defined in Airflow."


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
        IntakeRow.state != "invalid",
    )
    return session.scalar(others.limit(1)) is not None


def request_at(place: Place) -> str | None:
    """Return the id of the request that stands for the gate's present try.

    An intake that the dispatcher has not come to yet is registered here and now.
    """
    intake_id = run_read(partial(_waiting_intake, place=place))
    if intake_id is not None:
        register_now(intake_id)
    return run_read(partial(newest_id, place=place))


def _waiting_intake(session: Session, place: Place) -> int | None:
    ti = airflow_seams.task_instance_at(session, place)
    if ti is None:
        return None
    return session.scalar(
        select(IntakeRow.id).where(
            IntakeRow.ti_id == str(ti.id), IntakeRow.try_number == ti.try_number, IntakeRow.state == "new"
        )
    )


def newest_id(session: Session, place: Place) -> str | None:
    """Return the id of the newest request of a gate, registering nothing."""
    request = newest_request(session, place)
    return request.id if request is not None else None


def newest_request(session: Session, place: Place) -> RequestRow | None:
    """Return the newest request of a gate."""
    of_gate = select(RequestRow).where(
        RequestRow.dag_id == place.dag_id,
        RequestRow.run_id == place.run_id,
        RequestRow.task_id == place.task_id,
        RequestRow.map_index == place.map_index,
    )
    return session.scalar(of_gate.order_by(RequestRow.created_at.desc()).limit(1))
