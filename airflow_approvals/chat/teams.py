"""From a press in Teams to an answer: whose press it is, on which card, and what is said back.

A press has two steps. The first (Approve, Reject) is answered with a form that shows the request as
the server holds it; the second confirms that very form, and casts the vote. Both are written down
before anything follows from them, by the id of their activity, so that a repetition has no second
effect. A press counts only when it comes from the tenant the policy names, on the very card that was
posted for that request, with the nonce of that post, by an account that the policy links to an
Airflow user who may answer the gate; a confirmation only while the request is as it was shown. Then
``decide()`` has the word, as for every channel. Every refusal is recorded. A press is closed in the
transaction of its vote, so a process that dies after that leaves nothing to be refused.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sqlalchemy.orm import Session

from airflow_approvals.channels import teams_activity as activity
from airflow_approvals.channels import teams_cards as cards
from airflow_approvals.channels.facts import RequestFacts
from airflow_approvals.channels.teams_activity import Answer, Press
from airflow_approvals.channels.teams_bot import Posted
from airflow_approvals.chat import teams_forms
from airflow_approvals.chat.click_work import put_aside
from airflow_approvals.chat.forms import ALREADY_SENT, CHANGED, TOO_OLD, UNKNOWN_FORM
from airflow_approvals.chat.teams_refusals import (
    FOREIGN_TENANT,
    NO_SUCH_USER,
    NO_TENANT,
    NOT_LINKED,
    NOT_PERMITTED,
    NOT_PROCESSED,
    NOT_YET,
    SLOW,
    SLOW_CARD,
    TAKEN_OVER,
    UNKNOWN_CARD,
)
from airflow_approvals.chat.teams_work import TEAMS, Done, Taken, TeamsDeps, finish
from airflow_approvals.control import faults
from airflow_approvals.control.votes import OVERTAKEN, Check
from airflow_approvals.core.bar import Bar
from airflow_approvals.core.models import Channel, Person, Refusal, Verdict
from airflow_approvals.errors import ContractError
from airflow_approvals.store import inbox
from airflow_approvals.store import outbox as rows
from airflow_approvals.store.tables import InboxRow, RequestRow

BATCH = 50
#: What has to be put right in the form rather than refused.
_ABOUT_THE_FORM = frozenset({"reason_required", "reason_too_long", "ticket_required", "ticket_too_long"})
#: What is not recorded by ``decide()``, and where the way out is the button once more.
_PRESS_AGAIN = frozenset({UNKNOWN_FORM, TOO_OLD, CHANGED, ALREADY_SENT, OVERTAKEN})


@dataclass(frozen=True)
class _Known:
    """A press whose card and account are known: who it claims to be, and for which DAG."""

    name: str
    dag_id: str


def begin(deps: TeamsDeps, press: Press) -> Callable[[], Answer]:
    """Write a press down; return what works on it and gives the answer.

    What Teams asks for by itself is not written down: nothing follows from it.
    """
    if press.verb == cards.VIEW:
        return lambda: _view(deps, press).answer
    taken = deps.run(lambda session: _keep(deps, session, press))
    return partial(_again, deps, press) if taken is None else partial(_answered, deps, taken)


def slow(press: Press) -> str:
    """Return what is said to a person whose press takes too long."""
    return SLOW if press.verb in cards.CONFIRMS else SLOW_CARD


def handle(deps: TeamsDeps, press: Press) -> Answer:
    """Return the answer to a press, once what follows from it is committed."""
    return begin(deps, press)()


def _answered(deps: TeamsDeps, taken: Taken) -> Answer:
    """A fault leaves the press written down, to be worked on later, and is an answer as well."""
    try:
        return _work(deps, taken).answer
    except Exception as error:
        faults.report(f"process a press in Teams on request {taken.press.request_id}", error)
        return activity.message_answer(slow(taken.press))


def process_waiting(deps: TeamsDeps) -> int:
    """Work on presses whose process died or failed; return how many were settled.

    Nobody waits for an answer any more, so a refusal is told in a chat with the bot.
    """
    waiting = deps.run(lambda s: inbox.waiting(s, channel=TEAMS, now=deps.clock(), limit=BATCH))
    return sum(_process(deps, press_id) for press_id in waiting)


def _process(deps: TeamsDeps, press_id: str) -> bool:
    taken = deps.run(lambda session: _take(deps, session, press_id))
    if taken is None:
        return False
    try:
        _work(deps, taken)
    except Exception as error:
        faults.report(f"process a press in Teams on request {taken.press.request_id}", error)
        return False
    return True


def _keep(deps: TeamsDeps, session: Session, press: Press) -> Taken | None:
    """Write a press down and take it at once, so that nobody else works on it meanwhile."""
    payload, now = press.to_text(), deps.clock()
    if not inbox.keep(session, press.inbox_id, channel=TEAMS, payload=payload, now=now):
        return None
    return _take(deps, session, press.inbox_id)


def _take(deps: TeamsDeps, session: Session, press_id: str) -> Taken | None:
    row = inbox.take(session, press_id, now=deps.clock())
    if row is None:
        return None
    session.refresh(row)
    try:
        press = Press.from_text(row.payload)
    except ContractError as error:
        put_aside(session, row, error, now=deps.clock())
        return None
    return Taken(press, row.state, row.received_at)


def _again(deps: TeamsDeps, press: Press) -> Answer:
    """Answer a repetition by how things stand; nothing follows from it."""
    row = deps.run(lambda session: session.get(InboxRow, press.inbox_id))
    if row is None or row.state != inbox.DONE:
        return activity.message_answer(slow(press))
    return (_ask(deps, press) if press.verb in cards.ASKS else _view(deps, press)).answer


def _work(deps: TeamsDeps, taken: Taken) -> Done:
    press = taken.press
    if deps.clock() - taken.received_at >= inbox.GIVE_UP_AFTER:
        done = Done(activity.message_answer(NOT_PROCESSED.sentence), NOT_PROCESSED, record=True)
    elif press.verb in cards.ASKS:
        done = _ask(deps, press)
    else:
        done = _vote(deps, taken)
    deps.run(lambda session: finish(deps, session, taken, done))
    return done


def _ask(deps: TeamsDeps, press: Press) -> Done:
    """The first step: show what would be voted on, or why not."""
    person = _person(deps, press)
    if isinstance(person, Refusal):
        return _refused(deps, press, person)
    standing = deps.preview(press.request_id, person)
    if isinstance(standing, Refusal):
        return _refused(deps, press, standing)
    return Done(activity.card_answer(teams_forms.opened(deps, press)))


def _vote(deps: TeamsDeps, taken: Taken) -> Done:
    """The second step: vote. ``decide()`` records its own refusals."""
    press = taken.press
    person = _person(deps, press)
    if isinstance(person, Refusal):
        return _refused(deps, press, person)
    form = deps.run(lambda session: teams_forms.form_of(session, press, now=deps.clock()))
    if isinstance(form, Refusal):
        # Whoever could not vote anyway is told why, rather than to open another form.
        standing = deps.preview(press.request_id, person)
        return (
            _refused(deps, press, standing)
            if isinstance(standing, Refusal)
            else _not_counted(deps, press, form)
        )
    outcome = deps.decide(
        press.request_id,
        person=person,
        verdict=Verdict(form.verdict),
        reason=press.reason,
        channel=Channel.TEAMS,
        ticket=press.ticket,
        check=teams_forms.check_of(deps, press, form, _closing(taken)),
        said_at=taken.received_at,
        account=press.account,
    )
    if outcome is TAKEN_OVER:
        return Done(activity.message_answer(SLOW))
    if isinstance(outcome, Refusal):
        return _not_counted(deps, press, outcome)
    facts, delivered = _shown(deps, press)
    said = f"You voted to {form.verdict}."
    return Done(activity.card_answer(cards.for_one(facts, delivered, notice=said, may_vote=True)))


def _not_counted(deps: TeamsDeps, press: Press, refusal: Refusal) -> Done:
    """Show the form again where something in it can be put right, otherwise why it does not count."""
    if refusal.code in _ABOUT_THE_FORM:
        return Done(activity.card_answer(teams_forms.opened(deps, press, refusal.sentence)), refusal)
    facts, delivered = _shown(deps, press)
    again = refusal in _PRESS_AGAIN
    card = cards.for_one(facts, delivered, notice=refusal.sentence, may_vote=again)
    return Done(activity.card_answer(card), refusal, record=again)


def _closing(taken: Taken) -> Check:
    """Close the press with the vote, both or neither; an attempt that was overtaken has no vote."""

    def close(session: Session, request: RequestRow, bar: Bar) -> Refusal | None:
        closed = inbox.move(session, taken.press.inbox_id, taken.state, inbox.DONE)
        return None if closed else TAKEN_OVER

    return close


def _view(deps: TeamsDeps, press: Press) -> Done:
    """Show a person the card as it is for them; Teams asks for it by itself, so nothing is recorded."""
    person = _person(deps, press)
    if isinstance(person, Refusal):
        return _refused(deps, press, person)
    standing = deps.preview(press.request_id, person)
    facts, delivered = _shown(deps, press)
    if isinstance(standing, Refusal):
        notice = "" if facts.state.is_terminal else standing.sentence
        return Done(activity.card_answer(cards.for_one(facts, delivered, notice=notice, may_vote=False)))
    notice = f"You voted to {standing.cast}. You may change that until the end." if standing.cast else ""
    return Done(activity.card_answer(cards.for_one(facts, delivered, notice=notice, may_vote=True)))


def _refused(deps: TeamsDeps, press: Press, refusal: Refusal) -> Done:
    """Say why not: on the card where it is known to be ours, otherwise in a sentence."""
    if refusal in (NOT_YET, NO_TENANT, FOREIGN_TENANT, UNKNOWN_CARD):
        return Done(activity.message_answer(refusal.sentence), refusal, record=refusal is not NOT_YET)
    facts, delivered = _shown(deps, press)
    card = cards.for_one(facts, delivered, notice=refusal.sentence, may_vote=False)
    return Done(activity.card_answer(card), refusal, record=True)


def _shown(deps: TeamsDeps, press: Press) -> tuple[RequestFacts, cards.Delivered]:
    facts = deps.run(lambda session: deps.facts(session, press.request_id))
    return facts, cards.Delivered(press.nonce, deps.viewers(facts))


def _person(deps: TeamsDeps, press: Press) -> Person | Refusal:
    known = deps.run(lambda session: _recognise(deps, session, press))
    if isinstance(known, Refusal):
        return known
    person = deps.find_person(known.name)
    if person is None:
        return NO_SUCH_USER
    if isinstance(person, Refusal):
        return person
    return person if deps.may_answer(known.name, known.dag_id) else NOT_PERMITTED


def _recognise(deps: TeamsDeps, session: Session, press: Press) -> _Known | Refusal:
    directory = deps.directory(session)
    if directory is None:
        return NO_TENANT
    if not press.tenant == directory.tenant == deps.tenant:
        return FOREIGN_TENANT
    request = session.get(RequestRow, press.request_id)
    delivery = rows.delivery_of(session, press.request_id, channel=TEAMS)
    if request is None or delivery is None:
        return UNKNOWN_CARD
    if not delivery.message:
        return NOT_YET
    if not _is_on(press, Posted.from_ref(delivery.message)):
        return UNKNOWN_CARD
    name = directory.name_of(press.account)
    return NOT_LINKED if name is None else _Known(name, request.dag_id)


def _is_on(press: Press, posted: Posted) -> bool:
    conversation = posted.conversation.partition(";messageid=")[0]
    same = (press.conversation, press.message) == (conversation, posted.activity)
    return same and hmac.compare_digest(press.nonce, posted.nonce)
