"""Airflow's own "Required Actions" tab: the facts of a request as subject and Markdown body.

Author's text is escaped and quoted below the facts, so that it can neither pass for a fact nor
load anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from airflow_approvals.channels.facts import ENDPOINT_CHANGED, FIRST_APPROVAL, RequestFacts
from airflow_approvals.channels.slack_text import showable
from airflow_approvals.core.models import RequestState

_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&:@/])")
_MAX_ROWS = 40


def subject(facts: RequestFacts) -> str:
    """Return the headline: what, how sensitive, where to, and the digest's first twelve digits."""
    short = facts.manifest_digest.removeprefix("sha256:")[:12]
    return f"{facts.action}: {facts.label} data to {facts.sink} ({short})"[:500]


def body(facts: RequestFacts, undelivered: Sequence[str] = ()) -> str:
    """Return the facts as Markdown, author's words last.

    :param undelivered: which media gave up on telling people, a sentence each; they come first.
    """
    facts_alone = [*_facts(facts), "", *_votes(facts), "", *_counts(facts), "", *_author(facts)]
    return "\n".join([*_undelivered(undelivered), *facts_alone])


def _undelivered(sentences: Sequence[str]) -> Iterator[str]:
    for sentence in sentences:
        yield f"**Not delivered:** {escape(sentence)}"
        yield ""


def _facts(facts: RequestFacts) -> Iterator[str]:
    scanned, total = facts.coverage
    yield "| | |"
    yield "|---|---|"
    yield _row("Action", facts.action)
    asked = ", ".join(facts.requesters) or "nobody can be named: two people have to agree"
    yield _row("Asked for by", f"{asked} (may not decide)")
    for note in facts.requester_notes:
        yield _row("Not known", note)
    yield _row("May decide", ", ".join(facts.who_may_decide) or "nobody")
    yield _row("Needed", ", ".join(facts.seats) or "nobody's vote")
    yield _row("Destination", f"{facts.sink} ({facts.destination})")
    yield _row("Reached at", facts.endpoint or "unknown")
    if facts.endpoint_changed:
        yield _row("Changed", ENDPOINT_CHANGED)
    yield _row("Assurance", facts.assurance_in_words)
    yield _row("Label", f"{facts.label}")
    yield _row("Data", f"objects: {facts.object_count}, rows: {facts.rows}, bytes: {facts.size}")
    yield _row("Digest", facts.manifest_digest)
    yield _row("Still found after masking", residual(facts))
    yield _row("Scanned", f"{scanned} of {total} cells; objects not scanned: {facts.not_scanned}")
    yield _row(facts.compared_with, _changes(facts))
    yield _row("Rule", ", ".join(facts.rules) or "none")
    yield _row("Expires", f"{facts.expires_at:%Y-%m-%d %H:%M} UTC")
    yield _row("Request", facts.request_id)
    yield _row("Reported by", facts.reported_by)
    if facts.state is not RequestState.PENDING:
        yield _row("Outcome", f"{facts.state}: {facts.decided_because or ''}")


def _changes(facts: RequestFacts) -> str:
    more = len(facts.changes) - _MAX_ROWS
    cut = (f"and {more} more",) if more > 0 else ()
    return "; ".join((*facts.changes[:_MAX_ROWS], *cut)) or FIRST_APPROVAL


def _counts(facts: RequestFacts) -> Iterator[str]:
    yield "**Masked**"
    yield ""
    yield "| Column | Entity type | Count |"
    yield "|---|---|---|"
    for column, entity_type, count in facts.counts[:_MAX_ROWS]:
        yield f"| {escape(column or 'text')} | {escape(entity_type)} | {count} |"
    if len(facts.counts) > _MAX_ROWS:
        yield f"| and {len(facts.counts) - _MAX_ROWS} more | | |"


def _votes(facts: RequestFacts) -> Iterator[str]:
    for name, verdict, channel, at in facts.votes:
        yield f"* {escape(name)}: {verdict} by {channel}, {at:%Y-%m-%d %H:%M} UTC"


def _author(facts: RequestFacts) -> Iterator[str]:
    for title, text in (("Reason", facts.author_reason), ("Explanation", facts.author_body)):
        if text:
            yield f"**{title}, in the author's words**"
            yield ""
            for line in text.splitlines():
                yield f"> {escape(line)}"
            yield ""


def _row(name: str, value: str) -> str:
    return f"| **{name}** | {escape(value)} |"


def residual(facts: RequestFacts) -> str:
    """Return what a second scan still found; without a scan that is unknown, not nothing."""
    if facts.coverage[1] == 0:
        return "unknown: no scan of this data was reported"
    return ", ".join(f"{count} {kind}" for kind, count in facts.residual) or "nothing"


def escape(text: str) -> str:
    """Return the text so that Markdown shows it as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(showable(text).split()))
