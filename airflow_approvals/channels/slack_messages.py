"""The message about a request: facts on top, author's text quoted below, no value ever.

Two rules hold whatever is in the facts: the message keeps within Slack's limits, and the facts
that a decision rests on (who asks, what, label, digest, destination, residual risk, what was
not scanned, what changed, rule, deadline) are shown; only lists are shortened, and then they
say by how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_approvals.channels import slack_text as text
from airflow_approvals.channels.facts import ENDPOINT_CHANGED, FIRST_APPROVAL, RequestFacts
from airflow_approvals.channels.slack_interaction import APPROVE_ACTION, REJECT_ACTION
from airflow_approvals.core.models import NO_MAP_INDEX, Channel, RequestState

_DIGEST_PREFIX = len("sha256:")

_HEADLINES = {
    RequestState.PENDING: "Approval needed",
    RequestState.APPROVED: "Approved",
    RequestState.REJECTED: "Rejected",
    RequestState.EXPIRED: "Expired",
    RequestState.WITHDRAWN: "Withdrawn",
    RequestState.FORBIDDEN: "Forbidden",
    RequestState.CONFLICT: "Conflict",
}


@dataclass(frozen=True)
class SlackMessage:
    """``text`` is what notifications and screen readers show; ``blocks`` is Block Kit."""

    text: str
    blocks: list[dict[str, Any]]


@dataclass(frozen=True)
class Room:
    """How long the parts of a message may be, in characters as Slack counts them.

    ``value`` is one fact, ``names`` a list among the facts, ``listing`` a list of its own below
    them and ``author`` each of the author's texts.
    """

    value: int
    names: int
    listing: int
    author: int


#: From what an ordinary request gets to what always fits, whatever is in it.
ROOMS = (
    Room(text.MAX_FIELD, 600, 3000, 1400),
    Room(1000, 400, 1500, 1000),
    Room(500, 300, 800, 500),
    Room(300, 200, 400, 200),
    Room(120, 120, 150, 120),
)


def block_id_of(request_id: str) -> str:
    """Return the block id by which the message of a request is found again in a channel."""
    return f"approvals.request.{request_id}"


def reply_block_id(key: str) -> str:
    """Return the block id by which a reply is found again in a thread."""
    return f"approvals.reply.{key}"


def reply_blocks(said: str, mentions: Sequence[str], key: str) -> list[text.Block]:
    """Return a reply in the thread of a request: what is said, and whom it is for."""
    words = {"type": "section", "block_id": reply_block_id(key), "text": text.plain(said, text.MAX_SECTION)}
    mentioned = text.mentions(mentions)
    return [words, *([{"type": "section", "text": text.markup(mentioned)}] if mentioned else [])]


def whisper_blocks(said: str, own_url: str = "") -> list[text.Block]:
    """Return a private word beside the message of a request.

    :param own_url: an address below it on a last line of its own becomes a link; empty for none.
    """
    return text.with_link(said, own_url)


def outcome_blocks(said: str, facts: RequestFacts) -> list[text.Block]:
    """Return a private message about a request: what is said, which request, and the way to it."""
    return [*whisper_blocks(said), _origin(facts, ROOMS[0])]


def render(facts: RequestFacts) -> SlackMessage:
    """Return the message for a request as it stands."""
    headline = "Opened by BREAK-GLASS" if facts.break_glass else _HEADLINES[facts.state]
    title = f"{headline}: {facts.action} to {facts.sink}"
    for room in ROOMS:
        blocks = _blocks(facts, title, room)
        if text.length(blocks) <= text.MAX_MESSAGE:
            break
    return SlackMessage(text.fit(text.one_line(_summary(facts, title)), text.MAX_FALLBACK), blocks)


def _blocks(facts: RequestFacts, title: str, room: Room) -> list[text.Block]:
    return [
        text.header(title, block_id_of(facts.request_id)),
        *text.facts(what(facts, room), room.value),
        *text.facts([*changed(facts), *by_which_rule(facts, room), *not_known(facts, room)], room.value),
        *_findings(facts, room),
        *_author(facts, room),
        *_votes(facts, room),
        *_what_now(facts, room),
        _origin(facts, room),
    ]


def _summary(facts: RequestFacts, title: str) -> str:
    return f"{title}. {_data(facts)}, label {facts.label}. {facts.decided_because or ''}"


def what(facts: RequestFacts, room: Room) -> list[tuple[str, str]]:
    """Return the facts of what is asked for, names beside values: in the message and in the form."""
    return [
        ("Asked by", _requesters(facts, room)),
        ("Action", facts.action),
        ("Destination", f"{facts.sink} ({facts.destination})" if facts.destination else facts.sink),
        ("Reached at", facts.endpoint or "unknown"),
        ("Assurance", facts.assurance_in_words),
        ("Label", facts.label),
        ("Data", _data(facts)),
        ("Digest", _digest(facts)),
        ("Not scanned", _not_scanned(facts)),
        ("Still found after masking", _residual(facts, room)),
        (
            facts.compared_with,
            text.and_more(list(facts.changes), room.names, separator="; ") or FIRST_APPROVAL,
        ),
    ]


def by_which_rule(facts: RequestFacts, room: Room) -> list[tuple[str, str]]:
    """Return who has to agree, by which rule and until when."""
    return [
        ("Rule", text.and_more(list(facts.rules), room.names) or "none"),
        ("Votes needed", text.and_more(list(facts.seats), room.names) or "none"),
        ("Who may decide", text.and_more(list(facts.who_may_decide), room.names) or "nobody"),
        ("Expires", moment(facts.expires_at)),
    ]


def _requesters(facts: RequestFacts, room: Room) -> str:
    names = text.and_more(list(facts.requesters), room.names)
    if facts.unattributed:
        return f"{names} (not everybody is known)" if names else "nobody can be named for this run"
    return names or "nobody"


def changed(facts: RequestFacts) -> list[tuple[str, str]]:
    """Return that the destination is another one, when it is."""
    return [("Changed", ENDPOINT_CHANGED)] if facts.endpoint_changed else []


def not_known(facts: RequestFacts, room: Room) -> list[tuple[str, str]]:
    """Return what could not be known about who is behind the request."""
    notes = text.and_more(list(facts.requester_notes), room.names, separator=" ")
    return [("Not known", notes)] if notes else []


def _data(facts: RequestFacts) -> str:
    return f"{facts.object_count:,} objects, {facts.rows:,} rows, {facts.size:,} bytes"


def _digest(facts: RequestFacts) -> str:
    return f"{short_digest(facts.manifest_digest)} ({facts.manifest_digest})"


def short_digest(digest: str) -> str:
    """Return the first 12 hex digits of ``sha256:<hex>``: what people compare by eye."""
    return digest[_DIGEST_PREFIX : _DIGEST_PREFIX + 12]


def _not_scanned(facts: RequestFacts) -> str:
    scanned, total = facts.coverage
    cells = f"{total - scanned:,} of {total:,} cells" if total else "no scan was reported"
    return f"{cells}; {facts.not_scanned:,} objects"


def _residual(facts: RequestFacts, room: Room) -> str:
    if facts.coverage[1] == 0:
        return "unknown: no scan was reported"
    found = [f"{count:,} {kind}" for kind, count in facts.residual]
    return text.and_more(found, room.names) or "nothing"


def _findings(facts: RequestFacts, room: Room) -> list[text.Block]:
    largest_first = sorted(facts.counts, key=lambda count: (-count[2], count[0], count[1]))
    lines = [f"{text.one_line(column)}: {n:,} {kind}" for column, kind, n in largest_first]
    total = sum(n for _, _, n in facts.counts)
    found = text.and_more(lines, room.listing, separator="\n") or "nothing was masked"
    return text.listing(f"Masked: {total:,} values", found)


def _author(facts: RequestFacts, room: Room) -> list[text.Block]:
    said = [words for words in (facts.author_reason, facts.author_body) if words and words.strip()]
    blocks: list[text.Block] = []
    for words in said:
        blocks.append({"type": "section", "text": text.plain(text.quote(words), room.author)})
    if not blocks:
        return []
    title = text.markup("*What the author says* (quoted, not checked)")
    return [{"type": "divider"}, {"type": "section", "text": title}, *blocks, {"type": "divider"}]


def _votes(facts: RequestFacts, room: Room) -> list[text.Block]:
    if not facts.votes:
        return []
    lines = [
        f"{text.one_line(vote.name)}: {vote.verdict} ({vote.channel}, {moment(vote.at)})"
        for vote in facts.votes
    ]
    return text.listing("Votes", text.and_more(lines, room.listing, separator="\n"))


def _what_now(facts: RequestFacts, room: Room) -> list[text.Block]:
    if facts.state.is_terminal:
        return _outcome(facts, room)
    if Channel.SLACK not in facts.deciding:
        return [
            {
                "type": "section",
                "text": text.markup("*Answer in Airflow.* The rule does not let Slack decide."),
            }
        ]
    return [_buttons(facts)]


def _outcome(facts: RequestFacts, room: Room) -> list[text.Block]:
    because = text.one_line(facts.decided_because or "") or "No reason was recorded."
    return text.listing(_HEADLINES[facts.state], because, room.listing)


def _buttons(facts: RequestFacts) -> text.Block:
    approve = _button(facts, APPROVE_ACTION, "Approve", "primary")
    reject = _button(facts, REJECT_ACTION, "Reject", "danger")
    return {"type": "actions", "block_id": "approvals.actions", "elements": [approve, reject]}


def _button(facts: RequestFacts, action_id: str, word: str, style: str) -> text.Block:
    """The value is the opaque request id and nothing else: what a click means is looked up."""
    return {
        "type": "button",
        "action_id": action_id,
        "value": facts.request_id,
        "style": style,
        "text": text.plain(word, 75),
    }


def _origin(facts: RequestFacts, room: Room) -> text.Block:
    index = "" if facts.map_index == NO_MAP_INDEX else f"[{facts.map_index}]"
    place = f"{facts.dag_id}.{facts.task_id}{index}, run {facts.run_id}"
    reported = text.one_line(f"Data as reported by {facts.reported_by}. Gate {place}.")
    return {
        "type": "context",
        "elements": [text.plain(reported, room.value), text.link(facts.page_url, "Open in Airflow")],
    }


def moment(at: datetime) -> str:
    """Return an instant in UTC, to the minute."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
