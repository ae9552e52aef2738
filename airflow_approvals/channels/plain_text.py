"""The terminal: the facts of a request as plain lines."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_approvals.channels.facts import RequestFacts
from airflow_approvals.channels.required_actions import residual
from airflow_approvals.channels.slack_text import showable


def render(facts: RequestFacts) -> str:
    """Return the facts, one to a line."""
    return "\n".join(f"{name + ':':<22} {' '.join(showable(value).split())}" for name, value in _lines(facts))


def _lines(facts: RequestFacts) -> Iterator[tuple[str, str]]:
    scanned, total = facts.coverage
    yield "request", facts.request_id
    yield "state", f"{facts.state} {facts.decided_because or ''}".strip()
    yield "gate", f"{facts.task_id} of {facts.dag_id}, run {facts.run_id}"
    yield "action", facts.action
    yield "destination", f"{facts.sink} ({facts.destination})"
    yield "label", str(facts.label)
    yield "data", f"{facts.object_count} objects, {facts.rows} rows, {facts.size} bytes"
    yield "digest", facts.manifest_digest
    for column, entity_type, count in facts.counts:
        yield "masked", f"{count} {entity_type} in {column or 'text'}"
    yield "still found", residual(facts)
    yield "scanned", f"{scanned} of {total} cells, {facts.not_scanned} objects not scanned"
    yield "rule", ", ".join(facts.rules) or "none"
    yield "seats", ", ".join(facts.seats) or "none"
    yield "asked for by", ", ".join(facts.requesters) or "nobody can be named"
    yield "may decide", ", ".join(facts.who_may_decide) or "nobody"
    for name, verdict, channel, at in facts.votes:
        yield "vote", f"{name}: {verdict} by {channel} at {at:%Y-%m-%d %H:%M:%S} UTC"
    yield "expires", f"{facts.expires_at:%Y-%m-%d %H:%M:%S} UTC"
