"""What a card says of a request: its facts, what was found, what the author says, and the votes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from airflow_approvals.channels import teams_text as text
from airflow_approvals.channels.facts import ENDPOINT_CHANGED, FIRST_APPROVAL, RequestFacts
from airflow_approvals.channels.slack_messages import moment, short_digest
from airflow_approvals.channels.slack_text import and_more
from airflow_approvals.core.models import NO_MAP_INDEX, Channel, RequestState


@dataclass(frozen=True)
class Room:
    """How much of what is shown.

    ``value`` and ``listing`` are characters of a value and of a list on one line, ``lines`` is for
    lists with a line per item, of ``line`` characters each; ``viewers`` may have a view of their own.
    """

    value: int
    listing: int
    lines: int
    line: int
    viewers: int


#: The widest one that fits is taken; whatever the facts are, the last one fits.
ROOMS = (
    Room(1000, 600, 20, 200, 60),
    Room(1000, 300, 10, 150, 60),
    Room(500, 200, 5, 120, 30),
    Room(200, 100, 2, 80, 10),
)

LOOKS = {
    RequestState.PENDING: ("Approval needed", "Accent"),
    RequestState.APPROVED: ("Approved", "Good"),
    RequestState.REJECTED: ("Rejected", "Attention"),
    RequestState.EXPIRED: ("Expired", "Warning"),
    RequestState.WITHDRAWN: ("Withdrawn", "Warning"),
    RequestState.FORBIDDEN: ("Forbidden", "Attention"),
    RequestState.CONFLICT: ("Conflict", "Attention"),
}


def facts_of(facts: RequestFacts, room: Room) -> Iterator[text.Element]:
    """Return all that there is to say, but for what is next."""
    yield from what_of(facts, room)
    yield from by_which_rule(facts, room)
    yield from _findings(facts, room)
    yield from _author(facts, room)
    yield from _votes(facts, room)


def what_of(facts: RequestFacts, room: Room) -> list[text.Element]:
    """Return the facts that say what is asked for."""
    destination = f"{facts.sink} ({facts.destination})" if facts.destination else facts.sink
    pairs = [
        ("Asked by", _requesters(facts, room)),
        ("Action", facts.action),
        ("Destination", destination),
        ("Reached at", facts.endpoint or "unknown"),
        ("CHANGED", ENDPOINT_CHANGED if facts.endpoint_changed else ""),
        ("Assurance", facts.assurance_in_words),
        ("Label", facts.label),
        ("Data", f"{facts.object_count:,} objects, {facts.rows:,} rows, {facts.size:,} bytes"),
        ("Digest", digest_of(facts)),
        ("Not scanned", _not_scanned(facts)),
        ("Still found after masking", _residual(facts, room)),
        (facts.compared_with, _list(facts.changes, room, separator="; ") or FIRST_APPROVAL),
    ]
    return [text.fact(name, value, room.value) for name, value in pairs if value]


def by_which_rule(facts: RequestFacts, room: Room) -> list[text.Element]:
    """Return the facts that say who decides, by which rule and until when, and who is not known."""
    pairs = [
        ("Rule", _list(facts.rules, room) or "none"),
        ("Votes needed", _list(facts.seats, room) or "none"),
        ("Who may decide", _list(facts.who_may_decide, room) or "nobody"),
        ("Expires", moment(facts.expires_at)),
        ("Not known", _list(facts.requester_notes, room)),
    ]
    return [text.fact(name, value, room.value) for name, value in pairs if value]


def _list(items: Sequence[str], room: Room, *, separator: str = ", ") -> str:
    return and_more(list(items), room.listing, separator=separator)


def _requesters(facts: RequestFacts, room: Room) -> str:
    names = _list(facts.requesters, room)
    if facts.unattributed:
        return f"{names} (not everybody is known)" if names else "nobody can be named for this run"
    return names or "nobody"


def digest_of(facts: RequestFacts) -> str:
    """Return the digest, what people compare by eye first."""
    return f"{short_digest(facts.manifest_digest)} ({facts.manifest_digest})"


def _not_scanned(facts: RequestFacts) -> str:
    scanned, total = facts.coverage
    cells = f"{total - scanned:,} of {total:,} cells" if total else "no scan was reported"
    return f"{cells}; {facts.not_scanned:,} objects"


def _residual(facts: RequestFacts, room: Room) -> str:
    if facts.coverage[1] == 0:
        return "unknown: no scan was reported"
    return _list([f"{count:,} {kind}" for kind, count in facts.residual], room) or "nothing"


def _findings(facts: RequestFacts, room: Room) -> list[text.Element]:
    largest_first = sorted(facts.counts, key=lambda count: (-count[2], count[0], count[1]))
    items = [f"{column or 'text'}: {n:,} {kind}" for column, kind, n in largest_first] or [
        "nothing was masked"
    ]
    total = sum(n for _, _, n in facts.counts)
    return text.lines(f"Masked: {total:,} values", items, most=room.lines, limit=room.line)


def _author(facts: RequestFacts, room: Room) -> list[text.Element]:
    said = [words for words in (facts.author_reason, facts.author_body) if words and words.strip()]
    lines = [f"> {line}" for words in said for line in words.splitlines()]
    if not lines:
        return []
    title = "What the author says (quoted, not checked)"
    return [text.box("emphasis", text.lines(title, lines, most=room.lines, limit=room.value))]


def _votes(facts: RequestFacts, room: Room) -> list[text.Element]:
    if not facts.votes:
        return []
    items = [f"{vote.name}: {vote.verdict} ({vote.channel}, {moment(vote.at)})" for vote in facts.votes]
    return text.lines("Votes", items, most=room.lines, limit=room.line)


def what_now(facts: RequestFacts, room: Room) -> list[text.Element]:
    """Return how the request ended, or why it is not answered here."""
    if facts.state.is_terminal:
        because = facts.decided_because or "No reason was recorded."
        return [text.fact(LOOKS[facts.state][0], because, room.value)]
    if Channel.TEAMS in facts.deciding:
        return []
    return [text.fact("Answer in Airflow", "the rule does not let Teams decide.", room.value)]


def origin(facts: RequestFacts, room: Room) -> text.Element:
    """Return where the gate stands, and whose word the data are."""
    index = "" if facts.map_index == NO_MAP_INDEX else f"[{facts.map_index}]"
    place = f"{facts.dag_id}.{facts.task_id}{index}, run {facts.run_id}"
    reported = f"Data as reported by {facts.reported_by}. Gate {place}."
    return text.paragraph(text.run(reported, room.value, isSubtle=True, size="Small"), spacing="Medium")
