"""The ledger in the database: append, read, verify.

1. An append locks the head row, so the sequence has no gap and the chain no fork.
2. The body is stored as the bytes that were hashed; ``kind`` and ``request_id`` are repeated
   beside it for look-ups and compared by verification.
3. A body holds names, digests, counts and words of people, never a value of the data.

The chain itself: :mod:`airflow_approvals.core.chain`. Instants are RFC 3339 text in UTC with
microseconds (``2026-01-02T03:04:05.000006Z``).

Source: RFC 3339, https://www.rfc-editor.org/rfc/rfc3339.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from airflow_approvals.core.chain import (
    MAX_PROBLEMS,
    ChainEntry,
    ChainReport,
    Head,
    Problem,
    ProblemKind,
    entry_hash,
    leaf_hash,
    verify_chain,
)
from airflow_approvals.core.digest import canonical_bytes
from airflow_approvals.core.models import Place
from airflow_approvals.errors import ContractError, LedgerError
from airflow_approvals.store.tables import LedgerHeadRow, LedgerRow

BODY_VERSION = 1
_BATCH = 1000


class EntryKind(enum.StrEnum):
    """Everything that an entry can tell. Kinds are added, never renamed or reused."""

    POLICY_ACTIVATED = "policy_activated"
    REQUEST_REGISTERED = "request_registered"
    INTAKE_CONFLICT = "intake_conflict"
    INTAKE_INVALID = "intake_invalid"
    VOTE_CAST = "vote_cast"
    VOTE_REFUSED = "vote_refused"
    REQUEST_APPROVED = "request_approved"
    REQUEST_REJECTED = "request_rejected"
    REQUEST_EXPIRED = "request_expired"
    REQUEST_WITHDRAWN = "request_withdrawn"
    REQUEST_FORBIDDEN = "request_forbidden"
    REQUEST_CONFLICT = "request_conflict"
    GRANT_ISSUED = "grant_issued"
    GRANT_BOUND = "grant_bound"
    CREDENTIAL_HANDED_OUT = "credential_handed_out"
    CREDENTIAL_REFUSED = "credential_refused"
    START_REFUSED = "start_refused"
    GRANT_SPENT = "grant_spent"
    GRANT_EXPIRED = "grant_expired"
    GRANT_KILLED = "grant_killed"
    RUN_OVERRIDDEN = "run_overridden"
    FOREIGN_ANSWER_REFUSED = "foreign_answer_refused"
    DECISION_REAPPLIED = "decision_reapplied"
    DELIVERY_FAILED = "delivery_failed"
    VOTE_CHANGED = "vote_changed"
    REMINDER_SENT = "reminder_sent"
    ESCALATED = "escalated"
    REQUEST_ASKED_FOR = "request_asked_for"
    EVIDENCE_VERIFIED = "evidence_verified"
    EVIDENCE_REFUTED = "evidence_refuted"
    RELEASE_INTENDED = "release_intended"
    RELEASE_PUBLISHED = "release_published"
    RELEASE_FAILED = "release_failed"
    RELEASE_UNCERTAIN = "release_uncertain"
    BREAK_GLASS_USED = "break_glass_used"
    BREAK_GLASS_REFUSED = "break_glass_refused"
    BREAK_GLASS_REVIEWED = "break_glass_reviewed"
    STANDING_GRANTED = "standing_granted"
    STANDING_USED = "standing_used"
    STANDING_ENDED = "standing_ended"
    LINK_ASKED = "link_asked"
    ACCOUNT_LINKED = "account_linked"
    LINK_VOUCHED = "link_vouched"
    LINK_REFUSED = "link_refused"
    LINK_ENDED = "link_ended"


_KINDS = frozenset(kind.value for kind in EntryKind)


def append(
    session: Session,
    kind: str,
    *,
    at: datetime,
    actor: str | None = None,
    channel: str | None = None,
    request_id: str | None = None,
    place: Place | None = None,
    details: Mapping[str, Any] | None = None,
) -> int:
    """Append an entry in the session's transaction and return its sequence number.

    The head stays locked until the transaction ends, so this is the last lock to take.

    :param kind: one of :class:`EntryKind`.
    :param at: an aware instant.
    :param actor: id of the person, or of the part of the control plane, that did it.
    :param details: JSON without floats; what belongs to this kind.
    :raises LedgerError: when the kind is unknown, the details have no exact JSON form or the
        ledger has lost its head.
    """
    if kind not in _KINDS:
        raise LedgerError(f"There is no ledger entry of kind {kind}.")
    head = lock_head(session)
    seq = head.seq + 1
    body = _body(
        {
            "v": BODY_VERSION,
            "seq": seq,
            "prev": head.entry,
            "at": _instant(at),
            "kind": str(kind),
            "actor": actor,
            "channel": None if channel is None else str(channel),
            "request": request_id,
            "dag_id": place.dag_id if place else None,
            "run_id": place.run_id if place else None,
            "task_id": place.task_id if place else None,
            "map_index": place.map_index if place else None,
            "details": dict(details or {}),
        }
    )
    leaf = leaf_hash(body)
    entry = ChainEntry(seq, body, leaf, entry_hash(head.entry, leaf))
    _write(session, entry, str(kind), request_id)
    return seq


def lock_head(session: Session) -> Head:
    """Lock the head until the transaction ends, and return what it states.

    :raises LedgerError: when the row is gone; it is made together with the table.
    """
    found = session.execute(
        select(LedgerHeadRow.seq, LedgerHeadRow.entry_hash).where(LedgerHeadRow.id == 1).with_for_update()
    ).one_or_none()
    if found is None:
        raise LedgerError(
            "The ledger has lost its head, so nothing can be appended.",
            "Run `airflow approvals ledger verify`, and restore the database from a backup.",
        )
    return Head(found.seq, found.entry_hash)


def _write(session: Session, entry: ChainEntry, kind: str, request_id: str | None) -> None:
    session.execute(
        insert(LedgerRow).values(
            seq=entry.seq,
            body=entry.body,
            leaf_hash=entry.leaf,
            entry_hash=entry.entry,
            kind=kind,
            request_id=request_id,
        )
    )
    session.execute(
        update(LedgerHeadRow)
        .where(LedgerHeadRow.id == 1)
        .values(seq=entry.seq, entry_hash=entry.entry)
        .execution_options(synchronize_session=False)
    )


def _body(fields: Mapping[str, Any]) -> bytes:
    try:
        return canonical_bytes(fields)
    except ContractError as error:
        # The cause may quote the value that has no form.
        raise LedgerError(f"An entry of kind {fields['kind']} cannot be written: {error.message}") from None


def _instant(at: datetime) -> str:
    if at.tzinfo is None:
        raise LedgerError("A ledger entry needs an instant with a time zone.")
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def entries(
    session: Session, *, after: int = 0, limit: int = 100, request_id: str | None = None
) -> list[dict[str, Any]]:
    """Return entries in sequence, each as its body with ``leaf_hash`` and ``entry_hash``.

    :param after: only entries with a higher sequence number.
    :param request_id: only entries of that request.
    :raises LedgerError: when a stored body cannot be read any more.
    """
    query = select(LedgerRow.seq, LedgerRow.body, LedgerRow.leaf_hash, LedgerRow.entry_hash)
    query = query.where(LedgerRow.seq > after).order_by(LedgerRow.seq).limit(limit)
    if request_id is not None:
        query = query.where(LedgerRow.request_id == request_id)
    return [_document(ChainEntry(*row)) for row in session.execute(query)]


def last_entry_of(
    session: Session, request_id: str, actor: str, kinds: Collection[str]
) -> dict[str, Any] | None:
    """Return the newest entry of these kinds that a person made on a request; ``None`` without one."""
    found = [one for one in entries_of(session, request_id, kinds) if one["actor"] == actor]
    return found[-1] if found else None


def entries_of(session: Session, request_id: str, kinds: Collection[str]) -> list[dict[str, Any]]:
    """Return the entries of these kinds on a request, in sequence."""
    query = select(LedgerRow.seq, LedgerRow.body, LedgerRow.leaf_hash, LedgerRow.entry_hash)
    query = query.where(LedgerRow.request_id == request_id, LedgerRow.kind.in_(kinds))
    return [_document(ChainEntry(*row)) for row in session.execute(query.order_by(LedgerRow.seq))]


def newest_of_kind(session: Session, kind: str) -> dict[str, Any] | None:
    """Return the newest entry of a kind, ``None`` without one; it looks through the whole ledger."""
    query = select(LedgerRow.seq, LedgerRow.body, LedgerRow.leaf_hash, LedgerRow.entry_hash)
    query = query.where(LedgerRow.kind == kind).order_by(LedgerRow.seq.desc()).limit(1)
    row = session.execute(query).one_or_none()
    return _document(ChainEntry(*row)) if row is not None else None


def _document(entry: ChainEntry) -> dict[str, Any]:
    try:
        body = dict(json.loads(entry.body))
    except (ValueError, TypeError, RecursionError):
        raise LedgerError(
            f"Ledger entry {entry.seq} cannot be read.", "Run `airflow approvals ledger verify`."
        ) from None
    return {**body, "seq": entry.seq, "leaf_hash": entry.leaf, "entry_hash": entry.entry}


def verify_ledger(session: Session) -> ChainReport:
    """Verify the whole ledger as it stands, row by row, in memory that does not grow with it.

    Appends may go on meanwhile: head and length are read in one statement, hence as of one
    instant, and what is appended later is left for the next verification.
    """
    length = select(func.coalesce(func.max(LedgerRow.seq), 0)).scalar_subquery()
    head = session.execute(
        select(LedgerHeadRow.seq, LedgerHeadRow.entry_hash, length).where(LedgerHeadRow.id == 1)
    ).one_or_none()
    newest = head[2] if head else session.scalar(select(length)) or 0
    differing: list[Problem] = []
    report = verify_chain(_stored(session, newest, differing), head[:2] if head else None)
    if not differing:
        return report
    problems = tuple(sorted([*report.problems, *differing], key=lambda problem: problem.seq))
    return ChainReport(False, report.size, problems[:MAX_PROBLEMS])


def _stored(session: Session, newest: int, differing: list[Problem]) -> Iterator[ChainEntry]:
    """Yield the stored entries; note rows whose ``kind`` or ``request_id`` differs from the body."""
    query = (
        select(
            LedgerRow.seq,
            LedgerRow.body,
            LedgerRow.leaf_hash,
            LedgerRow.entry_hash,
            LedgerRow.kind,
            LedgerRow.request_id,
        )
        .where(LedgerRow.seq <= newest)
        .order_by(LedgerRow.seq)
        .execution_options(yield_per=_BATCH)
    )
    for seq, body, leaf, entry, kind, request_id in session.execute(query):
        stored = ChainEntry(seq, body, leaf, entry)
        if len(differing) < MAX_PROBLEMS and _differs(body, kind, request_id):
            sentence = f"Entry {stored.seq} is listed under another kind or request than its body states."
            differing.append(Problem(stored.seq, ProblemKind.PROJECTION, sentence))
        yield stored


def _differs(body: bytes, kind: str, request_id: str | None) -> bool:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return False  # the chain reports an unreadable body as edited
    return isinstance(fields, dict) and (fields.get("kind"), fields.get("request")) != (kind, request_id)
