"""The decisions about a content-bound release: may it begin, may it be seen, is it over.

The custodian copies between these transactions and never inside one. Once the intent to
publish is committed there is no way back: from then on a restart finishes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control import announcements, custody_locks, grants, retally, settlement
from airflow_approvals.control.announcements import Event
from airflow_approvals.control.custody_locks import Held
from airflow_approvals.control.verification import CUSTODIAN
from airflow_approvals.core.digest import sha256_digest
from airflow_approvals.core.models import GrantState, RequestState
from airflow_approvals.core.policy import Assurance
from airflow_approvals.errors import UnavailableError
from airflow_approvals.identity.directory import Membership
from airflow_approvals.seams import airflow_seams
from airflow_approvals.store import custody, ledger, policies
from airflow_approvals.store.custody import JobState
from airflow_approvals.store.ledger import EntryKind
from airflow_approvals.store.release_tables import CustodyRow, ReleasedObjectRow
from airflow_approvals.store.tables import GrantRow

GATE_LEFT = "The gate was cleared, answered or deleted before the copy was made."
RELEASED_ALL_THE_SAME = (
    "The approval ended while the data was being released ({because}), and it is released."
)
UNCERTAIN = (
    "The sink cannot be looked at any more, so it is not known whether the data is visible there; "
    "look at the sink. The custodian goes on trying."
)
NOBODY_RELEASED = "No custodian has released it in the time that the approval was good for."


def begin(
    session: Session,
    job_id: int,
    holder: str,
    membership: Membership,
    attempt: Mapping[str, Any],
    *,
    now: datetime,
    lookup: airflow_seams.Lookup,
) -> str | None:
    """Check that a release may be made, and remember where it is prepared, so that it can be undone.

    :param attempt: where this attempt writes.
    :param lookup: gives what identifies a Connection, as the custodian knows it.
    :returns: why it may not, ``None`` when it may.
    :raises UnavailableError: when that cannot be told now.
    """
    held = custody_locks.lock(session, job_id)
    if not held.is_held_by(holder):
        return "Another custodian has taken over."
    held.job.intent = json.dumps(attempt, sort_keys=True)
    return _objection(session, held, membership, lookup, now=now)


def intend(
    session: Session,
    job_id: int,
    holder: str,
    membership: Membership,
    receipt: str,
    *,
    now: datetime,
    lookup: airflow_seams.Lookup,
) -> str | None:
    """Decide that what was prepared becomes visible; committed, it is certain to.

    :param receipt: the digest of the receipt that was prepared.
    :returns: why it may not, ``None`` when it may.
    :raises UnavailableError: when that cannot be told now.
    """
    held = custody_locks.lock(session, job_id)
    if not held.is_held_by(holder) or held.job.state != JobState.WORKING:
        return "Another custodian has taken over."
    if (objection := _objection(session, held, membership, lookup, now=now)) is not None:
        return objection
    held.job.state = JobState.PUBLISHING
    held.job.result = receipt
    _enter(session, EntryKind.RELEASE_INTENDED, held, {"receipt": receipt}, now=now)
    return None


def _objection(
    session: Session, held: Held, membership: Membership, lookup: airflow_seams.Lookup, *, now: datetime
) -> str | None:
    gate, grant, request = held.gate, held.grant, held.request
    if gate is None:
        return GATE_LEFT
    if grant is None or request.state != RequestState.APPROVED:
        return f"The request is {request.state}."
    grants.refresh(session, grant, None, None, now=now)
    if grant.state != GrantState.LIVE:
        return f"The approval is {grant.state} ({grant.ended_because})."
    if lapse := grants.first_lapse(session, grant, gate.ti, now=now, lookup=lookup):
        return f"The approval is void: its {lapse} is not what was approved."
    if not _is_still_bound(session, held):
        return "The policy in force no longer has the custodian release to this sink."
    unsatisfied = retally.still_satisfied(session, request, membership, now)
    if unsatisfied is not None and (unknown := retally.unresolved(session, request, membership)):
        raise UnavailableError(
            f"Group {unknown[0]} cannot be asked, so the votes cannot be counted now.",
            "Nothing is decided; try again when it can be reached.",
        )
    return unsatisfied.sentence if unsatisfied is not None else None


def _is_still_bound(session: Session, held: Held) -> bool:
    policy = policies.active_policy(session)
    sink = policy.sinks.get(held.request.sink) if policy is not None else None
    if sink is None or sink.assurance is not Assurance.CONTENT_BOUND:
        return False
    return sink.uri_prefix == held.pins.uri_prefix


def finish(
    session: Session,
    job_id: int,
    objects: Sequence[tuple[str, str, int]],
    signed: Mapping[str, Any],
    *,
    now: datetime,
) -> bool:
    """Write down that the release is visible, spend its grant and let the gate go on.

    Two custodians may both get here when one seemed dead; the second finds it done.

    :param objects: name, digest and size in bytes of each object.
    :param signed: the signed receipt, as the gate hands it on.
    :returns: whether it was this call that did it.
    """
    held = custody_locks.lock(session, job_id)
    grant = held.grant
    if held.job.state != JobState.PUBLISHING or grant is None:
        return False
    _write_objects(session, grant, objects, now=now)
    held.job.state, held.job.error = JobState.DONE, None
    held.job.result = json.dumps(dict(signed), sort_keys=True)
    session.flush()
    details = {"objects": len(objects), "bytes": sum(size for _, _, size in objects)}
    _enter(session, EntryKind.RELEASE_PUBLISHED, held, details, now=now)
    if grant.state in (*grants.USABLE, GrantState.EXPIRED):
        grants.end(session, grant, GrantState.SPENT, "the custodian has released the data", now=now)
    _let_gate_go_on(session, held, grant, now=now)
    return True


def _let_gate_go_on(session: Session, held: Held, grant: GrantRow, *, now: datetime) -> None:
    if held.gate is None:
        return
    if grant.state == GrantState.SPENT:
        because = held.request.decided_because or ""
        settlement.answer(
            session, held.gate, held.request, held.pins, grant, because, by=settlement.CONTROL_PLANE, now=now
        )
    else:
        because = RELEASED_ALL_THE_SAME.format(because=grant.ended_because)
        settlement.answer_unreleased(session, held.gate, held.request, because, now=now)


def _write_objects(
    session: Session, grant: GrantRow, objects: Sequence[tuple[str, str, int]], *, now: datetime
) -> None:
    for name, sha256, size in objects:
        digest = sha256_digest(name.encode("utf-8", "surrogatepass"))
        session.add(
            ReleasedObjectRow(
                grant_id=grant.id, name_digest=digest, name=name, sha256=sha256, size=size, released_at=now
            )
        )


def fail(
    session: Session, job_id: int, holder: str | None, because: str, *, gone: bool = False, now: datetime
) -> bool:
    """Give a release up for good: end the grant and let the gate go on, shut.

    The caller has removed what was prepared.

    :param holder: who has to hold the job; ``None`` when nobody may be working on it.
    :param because: a sentence without values.
    :param gone: that nothing stands at the sink, though it was intended to be published.
    :returns: whether it was given up; what may be visible is not.
    """
    held = custody_locks.lock(session, job_id)
    if held.job.state not in custody.OPEN_STATES or (held.job.state == JobState.PUBLISHING and not gone):
        return False
    if holder is not None and held.job.holder != holder:
        return False
    if holder is None and held.job.due_at > now:
        return False
    held.job.state, held.job.error = JobState.FAILED, because
    _enter(session, EntryKind.RELEASE_FAILED, held, {"because": because}, now=now)
    # One that ran out too: it would open the start ring to what stands behind, and nothing was released.
    if held.grant is not None and held.grant.state in (*grants.USABLE, GrantState.EXPIRED):
        grants.end(session, held.grant, GrantState.KILLED, because, now=now, tell=False)
    if held.gate is not None:
        settlement.answer_unreleased(session, held.gate, held.request, because, now=now)
    announcements.announce(session, held.request, Event.RELEASE_FAILED, sentence=because, now=now)
    return True


def leave_open(session: Session, *, job_id: int, holder: str, now: datetime) -> bool:
    """Let the gate go on, shut, while nobody can tell whether the copy is visible; the job goes on.

    :returns: whether the gate was still parked for it.
    """
    held = custody_locks.lock(session, job_id)
    if not held.is_held_by(holder) or held.job.state != JobState.PUBLISHING or held.gate is None:
        return False
    _enter(session, EntryKind.RELEASE_UNCERTAIN, held, {"because": UNCERTAIN}, now=now)
    if held.grant is not None and held.grant.state in (*grants.USABLE, GrantState.EXPIRED):
        grants.end(session, held.grant, GrantState.KILLED, UNCERTAIN, now=now, tell=False)
    settlement.answer_unreleased(session, held.gate, held.request, UNCERTAIN, now=now)
    announcements.announce(session, held.request, Event.RELEASE_FAILED, sentence=UNCERTAIN, now=now)
    return True


def overdue(session: Session, *, now: datetime, limit: int) -> list[int]:
    """Return release jobs that nobody works on and whose grant has run out: nobody serves the sink."""
    found = (
        select(CustodyRow.id)
        .join(GrantRow, GrantRow.request_id == CustodyRow.request_id)
        .where(
            CustodyRow.kind == custody.JobKind.RELEASE,
            CustodyRow.state.in_([JobState.DUE, JobState.WORKING]),
            CustodyRow.due_at <= now,
            GrantRow.not_after <= now,
        )
    )
    return list(session.scalars(found.limit(limit)))


def give_up(session: Session, *, job_id: int, now: datetime) -> bool:
    """Fail a release that is overdue; see :func:`overdue`."""
    return fail(session, job_id, None, NOBODY_RELEASED, now=now)


def leftovers(session: Session, *, limit: int) -> list[tuple[int, str]]:
    """Return failed releases, with where they were prepared, that still have to be taken back."""
    found = select(CustodyRow.id, CustodyRow.intent).where(
        CustodyRow.state == JobState.FAILED, CustodyRow.intent.is_not(None)
    )
    return [(job_id, intent) for job_id, intent in session.execute(found.limit(limit)) if intent]


def forget_intent(session: Session, job_id: int) -> None:
    """Note that nothing of a failed release remains at the sink."""
    custody.locked(session, job_id).intent = None


def _enter(
    session: Session, kind: EntryKind, held: Held, details: Mapping[str, Any], *, now: datetime
) -> None:
    request = held.request
    about = {"manifest": request.manifest_digest, "sink": request.sink}
    if held.grant is not None:
        about["grant"] = held.grant.id
    ledger.append(
        session,
        kind,
        at=now,
        actor=CUSTODIAN,
        request_id=request.id,
        place=request.place,
        details={**about, **details},
    )
