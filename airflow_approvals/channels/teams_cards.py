"""The cards about a request: facts on top, author's text quoted below, no value ever.

Three rules hold whatever is in the facts: a card keeps within Teams' limit of 28 KB; the facts
that a decision rests on are shown, and only lists are shortened, which then say by how much; a
button carries an opaque request id and the nonce of its delivery, and nothing else.

Source: https://adaptivecards.io/explorer/ (schema 1.5);
https://learn.microsoft.com/en-us/adaptive-cards/authoring-cards/universal-action-model
(``Action.Execute``, ``refresh`` with at most 60 ``userIds``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_approvals.channels import teams_text as text
from airflow_approvals.channels.demands import MAX_REASON, MAX_TICKET, Demands
from airflow_approvals.channels.facts import RequestFacts
from airflow_approvals.channels.slack_text import showable
from airflow_approvals.channels.teams_facts import (
    LOOKS,
    ROOMS,
    Room,
    by_which_rule,
    digest_of,
    facts_of,
    origin,
    what_now,
    what_of,
)
from airflow_approvals.core.digest import document_digest
from airflow_approvals.core.models import Channel, RequestState, Verdict

CONTENT_TYPE = "application/vnd.microsoft.card.adaptive"
VERSION = "1.5"
#: Teams' limit is 28 KB for a webhook and higher for a bot; the rest is room for what is around a card.
MAX_BYTES = 26_000

VIEW, APPROVE, REJECT = "approvals.view", "approvals.approve", "approvals.reject"
CONFIRM_APPROVE, CONFIRM_REJECT = "approvals.confirmApprove", "approvals.confirmReject"
#: What the first press asks for, and the second one does.
ASKS = {APPROVE: Verdict.APPROVE, REJECT: Verdict.REJECT}
CONFIRMS = {CONFIRM_APPROVE: Verdict.APPROVE, CONFIRM_REJECT: Verdict.REJECT}

Card = dict[str, Any]


@dataclass(frozen=True)
class Delivered:
    """By what a card is told from every other: the nonce of its delivery. ``viewers`` are the
    accounts (``29:…``) that Teams asks for a view of their own for; at most 60 are used.
    """

    nonce: str
    viewers: tuple[str, ...] = ()


def headline(facts: RequestFacts) -> str:
    """Return what the card is about, in one line of plain text."""
    word = "Opened by BREAK-GLASS" if facts.break_glass else LOOKS[facts.state][0]
    return text.plain(f"{word}: {facts.action} to {facts.sink}", 200)


def for_everybody(facts: RequestFacts, delivered: Delivered) -> Card:
    """Return the card that stands in the conversation."""
    votes_here = facts.state is RequestState.PENDING and Channel.TEAMS in facts.deciding
    actions = _buttons(facts, delivered) if votes_here else []
    return _fitted(facts, delivered, lambda room: [*facts_of(facts, room), *what_now(facts, room)], actions)


def for_one(facts: RequestFacts, delivered: Delivered, *, notice: str, may_vote: bool) -> Card:
    """Return the card as one person sees it.

    :param notice: what to tell the person, of any origin; none when empty.
    :param may_vote: whether the buttons are for them.
    """
    open_here = may_vote and facts.state is RequestState.PENDING and Channel.TEAMS in facts.deciding
    style = "emphasis" if may_vote else "warning"

    def body(room: Room) -> Iterator[text.Element]:
        if notice:
            yield text.box(style, [text.paragraph(text.run(notice, room.value))])
        yield from facts_of(facts, room)
        yield from what_now(facts, room)

    return _fitted(facts, delivered, body, _buttons(facts, delivered) if open_here else [])


@dataclass(frozen=True)
class Form:
    """The second step as it is shown to one person: its one-time number, what was wrong with what
    they sent before, and what that was.
    """

    nonce: str
    notice: str = ""
    reason: str = ""
    ticket: str = ""


def confirmation(
    facts: RequestFacts, delivered: Delivered, verdict: Verdict, demands: Demands, form: Form
) -> Card:
    """Return the second step: the request as the server holds it, and room for what is to be written."""
    word = verdict.value.capitalize()
    verb = CONFIRM_APPROVE if verdict is Verdict.APPROVE else CONFIRM_REJECT

    def body(room: Room) -> Iterator[text.Element]:
        if form.notice:
            yield text.box("attention", [text.paragraph(text.run(form.notice, room.value))])
        yield from _question(facts, verdict, demands, room)
        yield from _inputs(verdict, demands, form)

    style = "positive" if verdict is Verdict.APPROVE else "destructive"
    confirm = _execute(facts, delivered, verb, f"Confirm: {word.lower()}", style=style)
    confirm["data"]["form"] = form.nonce
    back = _execute(facts, delivered, VIEW, "Back", associatedInputs="none")
    return _fitted(facts, delivered, body, [confirm, back], titled=False)


def shown(facts: RequestFacts, verdict: Verdict, demands: Demands) -> str:
    """Return the digest of what the second step shows, whatever it is known by.

    Of its widest form: where less fits, what is shown is a part of that.
    """
    room = ROOMS[0]
    asked = [*_question(facts, verdict, demands, room), *_inputs(verdict, demands, Form(""))]
    return document_digest({"verdict": verdict.value, "body": [*asked, origin(facts, room)]})


def _question(facts: RequestFacts, verdict: Verdict, demands: Demands, room: Room) -> Iterator[text.Element]:
    approves = verdict is Verdict.APPROVE
    word = verdict.value.capitalize()
    yield text.title(f"{word}: {facts.action} to {facts.sink}?", "Good" if approves else "Default")
    yield from what_of(facts, room)
    yield from by_which_rule(facts, room)
    if approves and demands.reason:
        yield text.fact("Your reason has to be of the form", " and ".join(demands.reason), room.value)
    if demands.ticket:
        yield text.fact("The ticket has to be of the form", " and ".join(demands.ticket), room.value)


def announcement(facts: RequestFacts) -> Card:
    """Return the card of a webhook, which can only lead to Airflow."""
    return _fitted(facts, None, lambda room: [*facts_of(facts, room), *what_now(facts, room)], [])


def outcome(facts: RequestFacts) -> Card:
    """Return a short card with the end of a request, for where a card cannot be changed."""

    def body(room: Room) -> Iterator[text.Element]:
        yield text.fact("Digest", digest_of(facts), room.value)
        yield from what_now(facts, room)

    return _fitted(facts, None, body, [])


def word(sentence: str, mentions: Sequence[tuple[str, str]] = ()) -> Card:
    """Return a card with a sentence.

    :param mentions: accounts (Entra object ids) and names of those it is for.
    """
    card = _card([text.paragraph(text.run(sentence, 3000))], [])
    named = [text.mention(account, name) for account, name in mentions]
    if named:
        card["body"].append(
            {"type": "TextBlock", "wrap": True, "text": " ".join(shown for shown, _ in named)}
        )
        card["msteams"] = {"entities": [entity for _, entity in named]}
    return card


def size_of(card: Card) -> int:
    """Return how many bytes the card takes, in UTF-8 or in UTF-16, whichever is more."""
    sent = json.dumps(card, ensure_ascii=False, separators=(",", ":"))
    return max(len(sent.encode()), len(sent.encode("utf-16-le")))


def _fitted(
    facts: RequestFacts,
    delivered: Delivered | None,
    body: Callable[[Room], Any],
    actions: list[text.Element],
    *,
    titled: bool = True,
) -> Card:
    """Return the card with as much of the lists as fits."""
    for room in ROOMS:
        title = [text.title(headline(facts), LOOKS[facts.state][1])] if titled else []
        elements = [*title, *body(room), origin(facts, room)]
        card = _card(elements, [*actions, *text.open_url("Open in Airflow", facts.page_url)])
        if delivered is not None and facts.state is RequestState.PENDING:
            card["refresh"] = _refresh(facts, delivered, room.viewers)
        if size_of(card) <= MAX_BYTES:
            break
    return card


def _card(body: list[text.Element], actions: list[text.Element]) -> Card:
    return {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": VERSION,
        "msteams": {"width": "Full"},
        "body": body,
        "actions": actions,
    }


def _inputs(verdict: Verdict, demands: Demands, form: Form) -> Iterator[text.Element]:
    too = "" if demands.ticket else " A ticket number belongs here too."
    lacking = f"{'An approval' if verdict is Verdict.APPROVE else 'A rejection'} needs a reason here."
    why = f"Why do you {verdict.value}?{too}"
    reason = _input("reason", why, MAX_REASON, form.reason, lacking if demands.reason_needed else "")
    yield {**reason, "isMultiline": True}
    if demands.ticket:
        ticket = form.ticket or demands.author_ticket
        yield _input("ticket", "Ticket", MAX_TICKET, ticket, "The rule asks for a ticket here.")


def _input(name: str, label: str, most: int, value: str, lacking: str) -> text.Element:
    """Return a field to write in; with ``lacking`` it has to be filled."""
    given = showable(value).strip()
    return {
        "type": "Input.Text",
        "id": name,
        "label": label,
        "maxLength": most,
        "isRequired": bool(lacking),
        **({"errorMessage": lacking} if lacking else {}),
        **({"value": given} if 0 < len(given) <= most else {}),
    }


def _buttons(facts: RequestFacts, delivered: Delivered) -> list[text.Element]:
    return [
        _execute(facts, delivered, APPROVE, "Approve", style="positive", associatedInputs="none"),
        _execute(facts, delivered, REJECT, "Reject", style="destructive", associatedInputs="none"),
    ]


def _execute(facts: RequestFacts, delivered: Delivered, verb: str, title: str, **more: str) -> text.Element:
    data = {"request": facts.request_id, "nonce": delivered.nonce}
    return {"type": "Action.Execute", "title": title, "verb": verb, "data": data, **more}


def _refresh(facts: RequestFacts, delivered: Delivered, most: int) -> dict[str, Any]:
    action = _execute(facts, delivered, VIEW, "Refresh")
    return {"action": action, "userIds": list(delivered.viewers[:most])}
