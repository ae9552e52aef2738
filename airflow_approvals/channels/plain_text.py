"""The terminal: the facts of a request as plain lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from airflow_approvals.channels.facts import ENDPOINT_CHANGED, FIRST_APPROVAL, RequestFacts
from airflow_approvals.channels.required_actions import residual
from airflow_approvals.channels.slack_text import showable


def render(facts: RequestFacts, told: Sequence[str] = ()) -> str:
    """Return the facts, one to a line.

    :param told: how each medium stands with the request.
    """
    lines = [*_lines(facts), *(("told", one) for one in told)]
    return "\n".join(f"{name + ':':<22} {' '.join(showable(value).split())}" for name, value in lines)


def _lines(facts: RequestFacts) -> Iterator[tuple[str, str]]:
    scanned, total = facts.coverage
    yield "request", facts.request_id
    yield "state", f"{facts.state} {facts.decided_because or ''}".strip()
    yield "gate", f"{facts.task_id} of {facts.dag_id}, run {facts.run_id}"
    yield "action", facts.action
    yield "destination", f"{facts.sink} ({facts.destination})"
    yield "reached at", facts.endpoint or "unknown"
    if facts.endpoint_changed:
        yield "CHANGED", ENDPOINT_CHANGED
    yield "assurance", facts.assurance_in_words
    yield "label", str(facts.label)
    yield "data", f"{facts.object_count} objects, {facts.rows} rows, {facts.size} bytes"
    yield "digest", facts.manifest_digest
    for column, entity_type, count in facts.counts:
        yield "masked", f"{count} {entity_type} in {column or 'text'}"
    yield "still found", residual(facts)
    yield "scanned", f"{scanned} of {total} cells, {facts.not_scanned} objects not scanned"
    for change in facts.changes or (FIRST_APPROVAL,):
        yield "since last approval", change
    yield "rule", ", ".join(facts.rules) or "none"
    yield "seats", ", ".join(facts.seats) or "none"
    yield "asked for by", ", ".join(facts.requesters) or "nobody can be named"
    for note in facts.requester_notes:
        yield "not known", note
    yield "may decide", ", ".join(facts.who_may_decide) or "nobody"
    for name, verdict, channel, at in facts.votes:
        yield "vote", f"{name}: {verdict} by {channel} at {at:%Y-%m-%d %H:%M:%S} UTC"
    yield "expires", f"{facts.expires_at:%Y-%m-%d %H:%M:%S} UTC"
