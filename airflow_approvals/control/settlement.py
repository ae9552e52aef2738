"""Settling: what happens, in one transaction, when a request becomes final.

The caller holds the locks (task instance, inbox row, request) in that order.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from airflow_approvals.control import announcements, grants, issuing
from airflow_approvals.control.announcements import Event
from airflow_approvals.control.intake import CONFLICT
from airflow_approvals.control.pins import Pins
from airflow_approvals.core.gate import APPROVE_OPTION, OUTCOME_KEY, REJECT_OPTION
from airflow_approvals.core.models import GrantState, Person, RequestState
from airflow_approvals.core.policy import Assurance
from airflow_approvals.seams import airflow_seams
from airflow_approvals.store import custody, ledger
from airflow_approvals.store.tables import GrantRow, RequestRow

#: Who answers Airflow's inbox when no person does: expiry, withdrawal, policy.
CONTROL_PLANE = Person("approvals", "approvals")

SENTENCES = {
    RequestState.EXPIRED: "Nobody decided in time; silence never approves.",
    RequestState.CONFLICT: CONFLICT,
}


def settle(
    session: Session,
    parked: airflow_seams.Parked,
    request: RequestRow,
    state: RequestState,
    because: str,
    *,
    by: Person = CONTROL_PLANE,
    told: bool = True,
    now: datetime,
) -> None:
    """Make the request final and send its gate on its way.

    :param state: a terminal state; ``approved`` issues the grant.
    :param told: whether people and programs are told; the ledger is in any case.
    :raises ConfigurationError: when a grant cannot be signed; nothing is written then.
    """
    pins = Pins.from_text(request.pinned)
    request.state = state
    request.decided_at = now
    request.decided_because = because
    grant = issuing.issue(session, request, pins, now=now) if state == RequestState.APPROVED else None
    _enter(session, request, f"request_{state.value}", because, by=by, now=now)
    if grant is not None and pins.assurance == Assurance.CONTENT_BOUND:
        # The gate stays parked until the custodian has copied; Airflow's sweep must not end that.
        parked.ti.trigger_timeout = None
        custody.enqueue(session, request.id, custody.JobKind.RELEASE, now=now)
    elif parked.is_waiting and parked.is_try(request.ti_id, request.try_number):
        answer(session, parked, request, pins, grant, because, by=by, now=now)
    if told:
        _announce_end(session, request, by=by, now=now)


def answer(
    session: Session,
    parked: airflow_seams.Parked,
    request: RequestRow,
    pins: Pins,
    grant: GrantRow | None,
    because: str,
    *,
    by: Person,
    now: datetime,
) -> None:
    """Write the outcome into the inbox and resume the gate."""
    outcome: dict[str, Any] = {"outcome": request.state, "because": because}
    if grant is not None:
        receipt = custody.receipt_of(session, request.id)
        outcome["grant"] = {**issuing.reference(grant, pins.uri_prefix), "receipt": receipt}
    _resume(session, parked, request, outcome, by=by, now=now)
    if grant is not None:
        grants.remember_path(session, grant, pins.consumers)


def answer_unreleased(
    session: Session, parked: airflow_seams.Parked, request: RequestRow, because: str, *, now: datetime
) -> None:
    """Resume an approved gate shut: what was approved could not be released."""
    outcome = {"outcome": "release_failed", "because": because}
    _resume(session, parked, request, outcome, by=CONTROL_PLANE, now=now)


def _resume(
    session: Session,
    parked: airflow_seams.Parked,
    request: RequestRow,
    outcome: Mapping[str, Any],
    *,
    by: Person,
    now: datetime,
) -> None:
    airflow_seams.resume(
        session,
        parked,
        options=[option_of(RequestState(request.state))],
        by=by,
        outcome=outcome,
        outcome_key=OUTCOME_KEY,
        now=now,
    )
    request.gate_tries = parked.ti.max_tries
    session.flush()
    grants.count_resume(session, request.place)


def turn_away(session: Session, parked: airflow_seams.Parked, because: str, *, now: datetime) -> None:
    """Resume a gate that has no request as failed, and say why on its page."""
    airflow_seams.resume(
        session,
        parked,
        options=[REJECT_OPTION],
        by=CONTROL_PLANE,
        outcome={"outcome": "failed", "because": because},
        outcome_key=OUTCOME_KEY,
        now=now,
    )
    airflow_seams.explain(session, parked.ti, because)
    session.flush()
    grants.count_resume(session, airflow_seams.place_of(parked.ti))


def option_of(state: RequestState) -> str:
    """Return the inbox option that stands for a terminal state."""
    return APPROVE_OPTION if state == RequestState.APPROVED else REJECT_OPTION


def reapply(
    session: Session,
    parked: airflow_seams.Parked,
    request: RequestRow,
    grant: GrantRow | None,
    *,
    now: datetime,
) -> None:
    """Give a gate that was retried by Airflow the decision it already has.

    The net below the resume: if a late scheduler event has failed the resumed task all the
    same, its retry asks again, and people must not be asked twice for one thing.
    """
    because = request.decided_because or ""
    pins = Pins.from_text(request.pinned)
    _enter(session, request, "decision_reapplied", because, by=CONTROL_PLANE, now=now)
    answer(session, parked, request, pins, grant, because, by=CONTROL_PLANE, now=now)


def close_if_due(
    session: Session, parked: airflow_seams.Parked | None, request: RequestRow, *, now: datetime
) -> bool:
    """Settle a pending request whose time is up, or whose gate has gone; say whether it did."""
    if request.state != RequestState.PENDING:
        return False
    if parked is None or not parked.is_try(request.ti_id, request.try_number):
        _abandon(session, request, "The gate was cleared, retried or deleted.", now=now)
        return True
    if not parked.is_waiting:
        _abandon(session, request, "The gate stopped waiting without a decision of this server.", now=now)
        return True
    # A conflict may have been found after ``now`` was read, while its locks were waited for.
    if request.expires_at > now and request.decided_because != CONFLICT:
        return False
    state = RequestState.CONFLICT if request.decided_because == CONFLICT else RequestState.EXPIRED
    settle(session, parked, request, state, SENTENCES[state], now=now)
    return True


def _abandon(session: Session, request: RequestRow, because: str, *, now: datetime) -> None:
    request.state = RequestState.WITHDRAWN
    request.decided_at = now
    request.decided_because = because
    _enter(session, request, "request_withdrawn", because, by=CONTROL_PLANE, now=now)
    _announce_end(session, request, by=CONTROL_PLANE, now=now)


def mark_conflict(session: Session, request: RequestRow, because: str, *, now: datetime) -> None:
    """Record that somebody else's answer stands where ours was written; nothing is released."""
    request.state = RequestState.CONFLICT
    request.decided_because = because
    grant = grants.of_gate(session, request.place)
    if grant is not None and grant.request_id == request.id and grant.state in grants.OPENED:
        grants.end(session, grant, GrantState.KILLED, because, now=now, tell=False)
    _enter(session, request, "request_conflict", because, by=CONTROL_PLANE, now=now)
    _announce_end(session, request, by=CONTROL_PLANE, now=now)


def _announce_end(session: Session, request: RequestRow, *, by: Person, now: datetime) -> None:
    event = Event.EXPIRED if request.state == RequestState.EXPIRED else Event.DECIDED
    sentence = request.decided_because or ""
    announcements.announce(session, request, event, sentence=sentence, by=by, now=now)


def _enter(
    session: Session, request: RequestRow, kind: str, because: str, *, by: Person, now: datetime
) -> None:
    details: Mapping[str, Any] = {
        "because": because,
        "manifest": request.manifest_digest,
        "sink": request.sink,
        "action": request.action,
        "policy": request.policy_digest,
    }
    ledger.append(
        session, kind, at=now, actor=by.id, request_id=request.id, place=request.place, details=details
    )
