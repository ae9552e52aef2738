"""What becomes of a request once the custodian has looked at the data itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from airflow_approvals.control import announcements, custody_locks, judging, settlement
from airflow_approvals.control.announcements import Event
from airflow_approvals.control.pins import Pins
from airflow_approvals.control.views import show
from airflow_approvals.core.ask import Ask, ReportedEvidence
from airflow_approvals.core.bar import Effect, EvidenceDemand
from airflow_approvals.core.models import RequestState
from airflow_approvals.store import ledger, policies
from airflow_approvals.store.custody import JobState
from airflow_approvals.store.ledger import EntryKind

CUSTODIAN = "custodian"
VERIFIED = "The custodian has read and scanned the data again and confirms the report."
PERMITTED = "Permitted without a vote by rule {rules}, by what the custodian found in the data."


def accept(
    session: Session, job_id: int, holder: str, evidence: ReportedEvidence, jws: str, *, now: datetime
) -> bool:
    """Write down what the custodian found, judge by it, and let people be asked.

    Evidence that says more than the task's is a refutation: see :func:`risk_hidden`.

    :param jws: the evidence as the custodian signed it.
    :returns: whether the job was still this holder's.
    """
    held = _open(session, job_id, holder, now=now)
    if held is None:
        return False
    if held.job.state == JobState.DONE:
        return True
    request = held.request
    ask = Ask.from_document(json.loads(request.ask))
    if (because := risk_hidden(ask, evidence)) is not None:
        _refute(session, held, because, now=now)
        return True
    request.verified = json.dumps(evidence.to_document(), sort_keys=True)
    request.verified_jws = jws
    held.job.state, held.job.error = JobState.DONE, None
    details = {"evidence": evidence.digest, "label": evidence.label.word, "findings": dict(evidence.findings)}
    _enter(session, EntryKind.EVIDENCE_VERIFIED, held, details, now=now)
    _ask_people(session, held, now=now)
    return True


def risk_hidden(ask: Ask, found: ReportedEvidence) -> str | None:
    """Return, in a sentence without values, in which way the task's report said less than is there."""
    if found.label > ask.label:
        return f"The task reported {ask.label.word} data, and the custodian found it {found.label.word}."
    reported = ask.evidence_of_this_data
    if reported is None:
        return None
    known = dict(reported.findings)
    if any(count > known.get(kind, 0) for kind, count in found.findings):
        return "The custodian found more sensitive data left in it than the task reported."
    if found.not_scanned > reported.not_scanned:
        return "The custodian could scan less of the data than the task reported."
    return None


def refute(session: Session, job_id: int, holder: str, because: str, *, now: datetime) -> bool:
    """Close the request: the data is not what the task reported.

    :param because: a sentence without values.
    :returns: whether the job was still this holder's.
    """
    held = _open(session, job_id, holder, now=now)
    if held is None:
        return False
    if held.job.state != JobState.DONE:
        _refute(session, held, because, now=now)
    return True


def _open(session: Session, job_id: int, holder: str, *, now: datetime) -> custody_locks.Held | None:
    """Lock a job that is still this holder's; one whose request is closed is done with."""
    held = custody_locks.lock(session, job_id)
    if not held.is_held_by(holder):
        return None
    settlement.close_if_due(session, held.parked, held.request, now=now)
    if held.request.state != RequestState.PENDING:
        held.job.state, held.job.error = JobState.DONE, "The request was closed meanwhile."
    return held


def _refute(session: Session, held: custody_locks.Held, because: str, *, now: datetime) -> None:
    held.job.state, held.job.error = JobState.FAILED, because
    _enter(session, EntryKind.EVIDENCE_REFUTED, held, {"because": because}, now=now)
    assert held.parked is not None  # noqa: S101 - a pending request; for the type checker
    settlement.settle(session, held.parked, held.request, RequestState.FORBIDDEN, because, now=now)


def _ask_people(session: Session, held: custody_locks.Held, *, now: datetime) -> None:
    """Announce the request, unless the policy decides by what was found."""
    request, parked = held.request, held.parked
    assert parked is not None  # noqa: S101 - a pending request; for the type checker
    policy = policies.active_policy(session)
    bar, pins = judging.bar_now(request, policy), Pins.from_text(request.pinned)
    moved = judging.leads_elsewhere(request, policy.sinks.get(request.sink) if policy else None)
    if bar.effect is Effect.FORBID or moved is not None:
        because = moved or "The policy forbids it, by what the custodian found in the data."
        settlement.settle(session, parked, request, RequestState.FORBIDDEN, because, now=now)
        return
    if bar.effect is Effect.PERMIT:
        because = PERMITTED.format(rules=", ".join(bar.rules))
        settlement.settle(session, parked, request, RequestState.APPROVED, because, now=now)
        return
    if pins.bar.effect is Effect.PERMIT:
        # People see and are told what is pinned, and so far it asks for nobody.
        request.pinned = replace(pins, bar=bar).to_text()
    show(session, parked, request)
    # Where only a policy activated since asks for it, people were told of the request long ago.
    if pins.bar.evidence is EvidenceDemand.VERIFIED:
        announcements.announce(session, request, Event.REQUESTED, now=now)
    announcements.announce(session, request, Event.VERIFIED, sentence=VERIFIED, now=now)


def _enter(
    session: Session, kind: EntryKind, held: custody_locks.Held, details: Mapping[str, Any], *, now: datetime
) -> None:
    request = held.request
    ledger.append(
        session,
        kind,
        at=now,
        actor=CUSTODIAN,
        request_id=request.id,
        place=request.place,
        details={"manifest": request.manifest_digest, **details},
    )
