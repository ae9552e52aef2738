"""The votes of a request: cast, changed and taken back, each with its entry.

One row per person and request. Until the request is final the row says what its person says
now; the ledger keeps what they said before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control.pins import Pins
from airflow_approvals.core.bar import Bar
from airflow_approvals.core.models import Channel, Person, Refusal, Verdict, Vote
from airflow_approvals.errors import LedgerError
from airflow_approvals.store import ledger
from airflow_approvals.store.ledger import EntryKind
from airflow_approvals.store.tables import RequestRow, VoteRow

#: What a ``vote_changed`` entry says a vote was changed to that its person took back.
TAKEN_BACK = "none"
OVERTAKEN = Refusal(
    "overtaken",
    "You have voted, or taken your vote back, since you sent this; what you said last counts.",
    409,
)
#: Looked at under the locks, right before a vote is written down: may it be?
Check = Callable[[Session, RequestRow, Bar], Refusal | None]
#: The entries by which a person says something.
_WORDS = (EntryKind.VOTE_CAST, EntryKind.VOTE_CHANGED)


def of_request(session: Session, request_id: str) -> Sequence[Vote]:
    """Return the votes as they stand, oldest first.

    :raises LedgerError: when they are not what was entered, so that nothing can be counted: somebody
        wrote to the database.
    """
    cast = as_stored(session, request_id)
    if {vote.person.id: _said(vote) for vote in cast} != _entered(session, request_id):
        raise LedgerError(
            f"The votes on request {request_id} are not those that stand in the ledger.",
            "Run `airflow approvals ledger verify`, and find out who changed the database.",
        )
    return cast


def as_stored(session: Session, request_id: str) -> list[Vote]:
    """Return the votes as the table has them, oldest first: for showing, never for counting."""
    found = select(VoteRow).where(VoteRow.request_id == request_id).order_by(VoteRow.id)
    return [_vote(row) for row in session.scalars(found)]


def record(session: Session, request: RequestRow, vote: Vote) -> None:
    """Write a vote down; the very same vote again enters nothing, and is the newest word all the same."""
    row = _row_of(session, request.id, vote.person)
    if row is None:
        session.add(_new_row(request.id, vote))
        details = {"verdict": vote.verdict.value, "manifest": request.manifest_digest}
        _enter(session, EntryKind.VOTE_CAST, request, vote, details)
        return
    before = _vote(row)
    row.at = vote.said_at or vote.at
    if _says(before) == _says(vote) and vote.ticket in ("", _last_ticket(session, request, vote.person)):
        return
    row.verdict, row.reason, row.channel = vote.verdict, vote.reason, vote.channel
    row.person_name = vote.person.name
    _enter(session, EntryKind.VOTE_CHANGED, request, vote, _change(before, vote.verdict.value))


def take_back(
    session: Session, request: RequestRow, person: Person, channel: Channel, *, now: datetime
) -> bool:
    """Delete a person's vote and enter that they took it back; return whether there was one.

    Where there is none that is entered too, once: a vote sent before may still be on its way.
    """
    row = _row_of(session, request.id, person)
    if row is None:
        _enter_nothing_left(session, request, person, channel, now=now)
        return False
    before = _vote(row)
    session.delete(row)
    session.flush()
    _enter(
        session,
        EntryKind.VOTE_CHANGED,
        request,
        Vote(person, before.verdict, "", channel, now),
        _change(before, TAKEN_BACK),
    )
    return True


def _enter_nothing_left(
    session: Session, request: RequestRow, person: Person, channel: Channel, *, now: datetime
) -> None:
    last = ledger.last_entry_of(session, request.id, person.id, _WORDS)
    if last is not None and last["details"].get("to") == TAKEN_BACK:
        return
    nothing = Vote(person, Verdict.REJECT, "", channel, now)
    _enter(session, EntryKind.VOTE_CHANGED, request, nothing, {"from": TAKEN_BACK, "to": TAKEN_BACK})


def unless_overtaken(person: Person, said_at: datetime | None, check: Check | None) -> Check | None:
    """Return a channel's check, after one that nothing is overridden that a person has said since.

    What was written down when a server died is worked on later, and must not undo a newer word.
    """
    if said_at is None:
        return check

    def checked(session: Session, request: RequestRow, bar: Bar) -> Refusal | None:
        if (newest := _newest_word(session, request, person)) is not None and newest > said_at:
            return OVERTAKEN
        return check(session, request, bar) if check is not None else None

    return checked


def _newest_word(session: Session, request: RequestRow, person: Person) -> datetime | None:
    """Return when a person said what counts now; when that was worked on says nothing."""
    row = _row_of(session, request.id, person)
    entry = ledger.last_entry_of(session, request.id, person.id, _WORDS)
    words = [row.at] if row is not None else []
    if entry is not None:
        words.append(datetime.fromisoformat(entry["details"].get("said_at") or entry["at"]))
    return max(words, default=None)


def _last_ticket(session: Session, request: RequestRow, person: Person) -> str:
    """Return the ticket of a person's newest vote; only the ledger keeps it."""
    entry = ledger.last_entry_of(session, request.id, person.id, _WORDS) or {"details": {}}
    return str(entry["details"].get("ticket", ""))


def _row_of(session: Session, request_id: str, person: Person) -> VoteRow | None:
    found = select(VoteRow).where(VoteRow.request_id == request_id, VoteRow.person_id == person.id)
    return session.scalar(found.with_for_update())


def _vote(row: VoteRow) -> Vote:
    person = Person(row.person_id, row.person_name)
    return Vote(person, Verdict(row.verdict), row.reason, Channel(row.channel), row.at)


def _new_row(request_id: str, vote: Vote) -> VoteRow:
    return VoteRow(
        request_id=request_id,
        person_id=vote.person.id,
        person_name=vote.person.name,
        verdict=vote.verdict,
        reason=vote.reason,
        channel=vote.channel,
        at=vote.said_at or vote.at,
    )


def _said(vote: Vote) -> tuple[str, ...]:
    return vote.person.name, vote.verdict.value, vote.channel.value, vote.reason


def _entered(session: Session, request_id: str) -> dict[str, tuple[str, ...]]:
    """Return what each person said last, by the ledger."""
    said: dict[str, tuple[str, ...]] = {}
    for entry in ledger.entries_of(session, request_id, _WORDS):
        details = entry["details"]
        verdict = details.get("verdict") or details["to"]
        said.pop(entry["actor"], None)
        if verdict != TAKEN_BACK:
            said[entry["actor"]] = (details["name"], verdict, entry["channel"], details["reason"])
    return said


def _says(vote: Vote) -> tuple[object, ...]:
    """Return what makes two votes of one person the same: a channel may decide or only view."""
    return vote.person.name, vote.verdict, vote.reason, vote.channel


def _change(before: Vote, to: str) -> dict[str, Any]:
    return {"from": before.verdict.value, "from_channel": before.channel.value, "to": to}


def _enter(
    session: Session, kind: EntryKind, request: RequestRow, vote: Vote, details: dict[str, Any]
) -> None:
    session.flush()
    ledger.append(
        session,
        kind,
        at=vote.at,
        actor=vote.person.id,
        channel=vote.channel,
        request_id=request.id,
        place=request.place,
        details={
            **details,
            **({"ticket": vote.ticket} if vote.ticket else {}),
            **({"account": vote.account} if vote.account else {}),
            **({"said_at": vote.said_at.isoformat()} if vote.said_at else {}),
            "reason": vote.reason,
            "name": vote.person.name,
            "not_evidence": Pins.from_text(request.pinned).dev_mode,
        },
    )
