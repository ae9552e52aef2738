"""The form behind the buttons: what is about to be approved or rejected, and why.

It is rendered by the server from the stored request, so that what is confirmed is what the grant
binds; nothing in it comes from the message that was clicked on. It names its request and its own
one-time number, and no more.

Source: https://docs.slack.dev/reference/views/modal-views/ (title, submit, close at most 24
characters, 100 blocks); https://docs.slack.dev/reference/block-kit/blocks/input-block/;
https://docs.slack.dev/surfaces/modals/#updating_response (answers to a submission).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from airflow_approvals.channels import slack_text as text
from airflow_approvals.channels.demands import MAX_REASON, MAX_TICKET, Demands
from airflow_approvals.channels.facts import RequestFacts
from airflow_approvals.channels.slack_interaction import (
    FORM,
    REASON_BLOCK,
    REASON_INPUT,
    TICKET_BLOCK,
    TICKET_INPUT,
)
from airflow_approvals.channels.slack_messages import ROOMS, by_which_rule, changed, not_known, what
from airflow_approvals.core.digest import document_digest
from airflow_approvals.core.models import Verdict

MAX_TITLE = 24
#: A form has room for more than a message; its facts are the message's own.
ROOM = ROOMS[1]
_MAX_HINT = 150
_WORDS = {Verdict.APPROVE: "Approve", Verdict.REJECT: "Reject"}

View = dict[str, Any]


def render(facts: RequestFacts, verdict: Verdict, demands: Demands, reference: str) -> View:
    """Return the form.

    :param reference: ``request:nonce``, by which the form is known when it comes back.
    """
    word = _WORDS[verdict]
    blocks = [
        {"type": "section", "text": text.plain(_question(facts, word), text.MAX_SECTION)},
        *text.facts(_what(facts), ROOM.value),
        *text.facts([*by_which_rule(facts, ROOM), *not_known(facts, ROOM), _gate(facts)], ROOM.value),
        _reason(verdict, demands),
        *_ticket(demands),
    ]
    return {
        "type": "modal",
        "callback_id": FORM,
        "private_metadata": reference,
        "title": text.plain(f"{word} this request", MAX_TITLE),
        "submit": text.plain(word, MAX_TITLE),
        "close": text.plain("Cancel", MAX_TITLE),
        "blocks": blocks,
    }


def shown(view: View) -> str:
    """Return the digest of what a form shows, whatever it is known by."""
    return document_digest({name: part for name, part in view.items() if name != "private_metadata"})


def notice(sentence: str, url: str = "") -> View:
    """Return a view that takes the form's place, says one thing and, with a URL, where to go on."""
    link: list[text.Block] = [{"type": "section", "text": text.link(url, "Open in Airflow")}] if url else []
    return {
        "type": "modal",
        "title": text.plain("Approvals", MAX_TITLE),
        "close": text.plain("Close", MAX_TITLE),
        "blocks": [{"type": "section", "text": text.plain(sentence, text.MAX_SECTION)}, *link],
    }


def _question(facts: RequestFacts, word: str) -> str:
    return text.one_line(f"{word}: {facts.action} to {facts.sink}?")


def _what(facts: RequestFacts) -> list[tuple[str, str]]:
    """Return what the message says, and in one line what was masked."""
    return [*what(facts, ROOM), ("Masked", _masked(facts)), *changed(facts)]


def _gate(facts: RequestFacts) -> tuple[str, str]:
    return "Gate", f"{facts.dag_id}.{facts.task_id}, run {facts.run_id}"


def _masked(facts: RequestFacts) -> str:
    kinds: Counter[str] = Counter()
    for _, kind, count in facts.counts:
        kinds[kind] += count
    return (
        text.and_more([f"{count:,} {kind}" for kind, count in kinds.most_common()], ROOM.names) or "nothing"
    )


def _reason(verdict: Verdict, demands: Demands) -> text.Block:
    patterns = demands.reason if verdict is Verdict.APPROVE else ()
    block = {
        "type": "input",
        "block_id": REASON_BLOCK,
        "optional": not demands.reason_needed,
        "label": text.plain("Reason", _MAX_HINT),
        "element": {
            "type": "plain_text_input",
            "action_id": REASON_INPUT,
            "multiline": True,
            "max_length": MAX_REASON,
        },
    }
    return _hinted(block, patterns, "It is kept in the ledger and shown to others.")


def _ticket(demands: Demands) -> list[text.Block]:
    if not demands.ticket:
        return []
    given = text.one_line(text.showable(demands.author_ticket))
    element: text.Block = {
        "type": "plain_text_input",
        "action_id": TICKET_INPUT,
        "max_length": MAX_TICKET,
        **({"initial_value": given} if 0 < len(given) <= MAX_TICKET else {}),
    }
    block = {
        "type": "input",
        "block_id": TICKET_BLOCK,
        "optional": False,
        "label": text.plain("Ticket", _MAX_HINT),
        "element": element,
    }
    return [_hinted(block, demands.ticket, "As the author of the DAG gave it, unless you know better.")]


def _hinted(block: text.Block, patterns: tuple[str, ...], otherwise: str) -> text.Block:
    hint = f"Of the form {' and '.join(patterns)}" if patterns else otherwise
    return {**block, "hint": text.plain(hint, text.MAX_FIELD)}
