"""The message about a request: facts on top, author's text quoted below, no value ever.

Two rules hold whatever is in the facts: the message keeps within Slack's limits, and the facts
that a decision rests on (who asks, what, label, digest, destination, residual risk, what was
not scanned, rule, deadline) are shown; only lists are shortened, and then they say by how much.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote as percent_encode

from airflow_approvals.channels import slack_text as text
from airflow_approvals.channels.facts import RequestFacts
from airflow_approvals.channels.slack_interaction import APPROVE_ACTION, REJECT_ACTION
from airflow_approvals.core.models import NO_MAP_INDEX, Channel, RequestState

_MAX_LIST = 600
_MAX_AUTHOR = 1400
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


def block_id_of(request_id: str) -> str:
    """Return the block id by which the message of a request is found again in a channel."""
    return f"approvals.request.{request_id}"


def render(facts: RequestFacts) -> SlackMessage:
    """Return the message for a request as it stands."""
    title = f"{_HEADLINES[facts.state]}: {facts.action} to {facts.sink}"
    blocks = [
        text.header(title, block_id_of(facts.request_id)),
        *text.facts(_what(facts)),
        *text.facts(_by_which_rule(facts)),
        *_findings(facts),
        *_author(facts),
        *_votes(facts),
        *_what_now(facts),
        _origin(facts),
    ]
    return SlackMessage(text.fit(text.one_line(_summary(facts, title)), text.MAX_FALLBACK), blocks)


def _summary(facts: RequestFacts, title: str) -> str:
    return f"{title}. {_data(facts)}, label {facts.label}. {facts.decided_because or ''}"


def _what(facts: RequestFacts) -> list[tuple[str, str]]:
    return [
        ("Asked by", _requesters(facts)),
        ("Action", facts.action),
        ("Destination", f"{facts.sink} ({facts.destination})" if facts.destination else facts.sink),
        ("Label", facts.label),
        ("Data", _data(facts)),
        ("Digest", _digest(facts)),
        ("Not scanned", _not_scanned(facts)),
        ("Still found after masking", _residual(facts)),
    ]


def _by_which_rule(facts: RequestFacts) -> list[tuple[str, str]]:
    return [
        ("Rule", text.and_more(list(facts.rules), _MAX_LIST) or "none"),
        ("Votes needed", text.and_more(list(facts.seats), _MAX_LIST) or "none"),
        ("Who may decide", text.and_more(list(facts.who_may_decide), _MAX_LIST) or "nobody"),
        ("Expires", moment(facts.expires_at)),
    ]


def _requesters(facts: RequestFacts) -> str:
    names = text.and_more(list(facts.requesters), _MAX_LIST)
    if facts.unattributed:
        return f"{names} (not everybody is known)" if names else "nobody can be named for this run"
    return names or "nobody"


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


def _residual(facts: RequestFacts) -> str:
    if facts.coverage[1] == 0:
        return "unknown: no scan was reported"
    found = [f"{count:,} {kind}" for kind, count in facts.residual]
    return text.and_more(found, _MAX_LIST) or "nothing"


def _findings(facts: RequestFacts) -> list[text.Block]:
    largest_first = sorted(facts.counts, key=lambda count: (-count[2], count[0], count[1]))
    lines = [f"{text.one_line(column)}: {n:,} {kind}" for column, kind, n in largest_first]
    total = sum(n for _, _, n in facts.counts)
    found = text.and_more(lines, text.MAX_SECTION, separator="\n") or "nothing was masked"
    return text.listing(f"Masked: {total:,} values", found)


def _author(facts: RequestFacts) -> list[text.Block]:
    said = [words for words in (facts.author_reason, facts.author_body) if words and words.strip()]
    blocks: list[text.Block] = []
    for words in said:
        blocks.append({"type": "section", "text": text.plain(text.quote(words), _MAX_AUTHOR)})
    if not blocks:
        return []
    title = text.markup("*What the author says* (quoted, not checked)")
    return [{"type": "divider"}, {"type": "section", "text": title}, *blocks, {"type": "divider"}]


def _votes(facts: RequestFacts) -> list[text.Block]:
    if not facts.votes:
        return []
    lines = [
        f"{text.one_line(vote.name)}: {vote.verdict} ({vote.channel}, {moment(vote.at)})"
        for vote in facts.votes
    ]
    return text.listing("Votes", text.and_more(lines, text.MAX_SECTION, separator="\n"))


def _what_now(facts: RequestFacts) -> list[text.Block]:
    if facts.state.is_terminal:
        return _outcome(facts)
    if Channel.SLACK not in facts.deciding:
        return [
            {
                "type": "section",
                "text": text.markup("*Answer in Airflow.* The rule does not let Slack decide."),
            }
        ]
    return [_buttons(facts)]


def _outcome(facts: RequestFacts) -> list[text.Block]:
    because = text.one_line(facts.decided_because or "") or "No reason was recorded."
    return text.listing(_HEADLINES[facts.state], because)


def _buttons(facts: RequestFacts) -> text.Block:
    approve = _button(facts, APPROVE_ACTION, "Approve", "primary")
    reject = _button(facts, REJECT_ACTION, "Reject", "danger")
    return {"type": "actions", "block_id": "approvals.actions", "elements": [approve, reject]}


def _button(facts: RequestFacts, action_id: str, word: str, style: str) -> text.Block:
    """The value is the opaque request id and nothing else: what a click means is looked up."""
    sink = text.one_line(facts.sink)
    question = f"Data {short_digest(facts.manifest_digest)}, label {facts.label}, to {sink}."
    return {
        "type": "button",
        "action_id": action_id,
        "value": facts.request_id,
        "style": style,
        "text": text.plain(word, 75),
        "confirm": {
            "title": text.plain(f"{word}: {text.one_line(facts.action)}?", text.MAX_CONFIRM_TITLE),
            "text": text.plain(question, text.MAX_CONFIRM_TEXT),
            "confirm": text.plain(word, 30),
            "deny": text.plain("Cancel", 30),
            "style": style,
        },
    }


def _origin(facts: RequestFacts) -> text.Block:
    index = "" if facts.map_index == NO_MAP_INDEX else f"[{facts.map_index}]"
    place = f"{facts.dag_id}.{facts.task_id}{index}, run {facts.run_id}"
    reported = text.one_line(f"Data as reported by {facts.reported_by}. Gate {place}.")
    return {"type": "context", "elements": [text.plain(reported, text.MAX_FIELD), _link(facts.page_url)]}


def _link(url: str) -> text.Block:
    safe = percent_encode(url, safe=":/?#[]@!$&'()*+,;=%~-._")
    return text.markup(f"<{safe.replace('&', '&amp;')}|Open in Airflow>")


def moment(at: datetime) -> str:
    """Return an instant in UTC, to the minute."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
