"""From what somebody does in Slack to a decision: whose act it is, on what, and what is said back.

A click opens a form, and the form casts the vote. Each is acknowledged when it lies in the inbox;
here it is worked on, once. It counts only when it comes from the workspace the policy names, on
the very message (or the very form) that was posted for that request, by an account that belongs
to an Airflow user who may answer the gate. Then ``decide()`` has the word, as for every channel.
Every refusal is recorded; its reason is told in private, but never to another workspace.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from airflow_approvals.channels.slack_interaction import Click, Submission, interaction_from_text
from airflow_approvals.chat import forms
from airflow_approvals.chat.click_work import ChatDeps, Outcome, Reply, Taken, put_aside, settle
from airflow_approvals.control import faults
from airflow_approvals.control.decisions import Decided
from airflow_approvals.control.outbox import Transactions
from airflow_approvals.control.votes import OVERTAKEN
from airflow_approvals.core.models import Channel, Person, Refusal, Verdict
from airflow_approvals.errors import ContractError
from airflow_approvals.identity import slack_accounts
from airflow_approvals.identity.slack_accounts import Account
from airflow_approvals.store import inbox
from airflow_approvals.store import outbox as rows
from airflow_approvals.store.chat_tables import ChatFormRow
from airflow_approvals.store.tables import RequestRow

BATCH = 50
_SLACK = Channel.SLACK.value

COUNTED = "Your vote was counted."
UNKNOWN_MESSAGE = Refusal("unknown_message", "This message was not posted for that request.", 404)
NO_SUCH_USER = Refusal(
    "no_such_user",
    "Your Slack account belongs to an Airflow user who does not exist or is not active.",
    403,
)
NOT_PERMITTED = Refusal(
    "not_permitted",
    "Airflow does not let you answer approvals of this DAG, so your click does not count.",
    403,
)
NOT_PROCESSED = Refusal(
    "not_processed", "Your click could not be processed and does not count. Please answer in Airflow.", 409
)


@dataclass(frozen=True)
class _Seen:
    """A known message or form: the DAG it is about, and the message and form that stand for it."""

    dag_id: str
    message: str
    form: ChatFormRow | None = None


class _NotYet:
    """The post of the message is not recorded yet; the click may be right."""


def keep(
    run: Transactions, callback_id: str, said: Click | Submission, *, now: datetime, at_work: bool = False
) -> bool:
    """Write down what came in, committed on return; return whether it is new (a replay is not).

    :param at_work: whether the caller works on it at once, by :func:`process_kept`.
    """
    return run(
        lambda session: inbox.keep(
            session, callback_id, channel=_SLACK, payload=said.to_text(), now=now, at_work=at_work
        )
    )


def process_inbox(deps: ChatDeps) -> int:
    """Work on what waits; return how much of it was settled.

    May run in several processes at once. What a process died over is taken up again.
    """
    waiting = deps.run(lambda s: inbox.waiting(s, channel=_SLACK, now=deps.clock(), limit=BATCH))
    return sum(process(deps, callback_id) for callback_id in waiting)


def process_kept(
    deps: ChatDeps, callback_id: str, said: Submission, *, received_at: datetime, reply: Reply
) -> Outcome | None:
    """Work on a form that was kept ``at_work``; ``None`` when it is left to another attempt."""
    return _attempt(deps, Taken(callback_id, inbox.FIRST_ATTEMPT, said, received_at, reply))


def put_back(run: Transactions, callback_id: str) -> None:
    """Leave to others what was kept ``at_work``: nobody here got round to it."""
    run(lambda session: inbox.move(session, callback_id, inbox.FIRST_ATTEMPT, inbox.NEW))


def process(deps: ChatDeps, callback_id: str) -> bool:
    """Work on one act that was kept; return whether this settled it."""
    taken = deps.run(lambda session: _take(deps, session, callback_id))
    return taken is not None and _attempt(deps, taken) is not None


def _attempt(deps: ChatDeps, taken: Taken) -> Outcome | None:
    try:
        # Before all else: a vote whose process died right after it is neither refused nor given up.
        if taken.state != inbox.FIRST_ATTEMPT and _was_counted(deps, taken):
            return settle(deps, taken, None, record=False, sentence=COUNTED)
        return _work(deps, taken)
    except Exception as error:
        # It stays taken and is tried again in a while; a fault never counts as a vote.
        faults.report(f"process an act in chat on request {taken.said.request_id}", error)
        return None


def _take(deps: ChatDeps, session: Session, callback_id: str) -> Taken | None:
    row = inbox.take(session, callback_id, now=deps.clock())
    if row is None:
        return None
    session.refresh(row)
    try:
        said = interaction_from_text(row.payload)
    except ContractError as error:
        put_aside(session, row, error, now=deps.clock())
        return None
    return Taken(row.id, row.state, said, row.received_at)


def _work(deps: ChatDeps, taken: Taken) -> Outcome | None:
    if deps.clock() - taken.received_at >= inbox.GIVE_UP_AFTER:
        return settle(deps, taken, NOT_PROCESSED, record=True)
    seen = deps.run(lambda session: _recognise(deps, session, taken.said))
    if isinstance(seen, _NotYet):
        deps.run(lambda session: inbox.move(session, taken.id, taken.state, inbox.NEW))
        return None
    if isinstance(seen, Refusal):
        return settle(deps, taken, seen, record=True)
    person = _person(deps, taken.account, seen.dag_id)
    if isinstance(person, Refusal):
        return settle(deps, taken, person, record=True)
    if isinstance(taken.said, Click):
        return _offer(deps, taken, taken.said, seen, person)
    return _cast(deps, taken, taken.said, seen, person)


def _was_counted(deps: ChatDeps, taken: Taken) -> bool:
    said = taken.said
    if not isinstance(said, Submission):
        return False
    return deps.run(lambda session: forms.was_counted(session, said, taken.id))


def _recognise(deps: ChatDeps, session: Session, said: Click | Submission) -> _Seen | Refusal | _NotYet:
    if (elsewhere := _elsewhere(said, deps.team(session))) is not None:
        return elsewhere
    request = session.get(RequestRow, said.request_id)
    delivery = rows.delivery_of(session, said.request_id, channel=_SLACK)
    if request is None or delivery is None:
        return UNKNOWN_MESSAGE
    if not delivery.message:
        return _NotYet()
    form = forms.form_of(session, said, now=deps.clock()) if isinstance(said, Submission) else None
    if isinstance(form, Refusal):
        return form
    clicked = said.message if isinstance(said, Click) else form.message if form else ""
    if delivery.message != clicked:
        return UNKNOWN_MESSAGE
    return _Seen(request.dag_id, delivery.message, form)


def _elsewhere(said: Click | Submission, team: str | None) -> Refusal | None:
    if team is None:
        return slack_accounts.NO_WORKSPACE
    if (said.team, said.user_team) != (team, team):
        return slack_accounts.FOREIGN_WORKSPACE
    return None


def _person(deps: ChatDeps, account: Account, dag_id: str) -> Person | Refusal:
    owner = deps.owner_of(account)
    if isinstance(owner, Refusal):
        return owner
    person = deps.find_person(owner.name)
    if isinstance(person, Refusal):
        return person
    if person is None or owner.person_id not in ("", person.id):
        return NO_SUCH_USER
    return person if deps.may_answer(owner.name, dag_id) else NOT_PERMITTED


def _offer(deps: ChatDeps, taken: Taken, click: Click, seen: _Seen, person: Person) -> Outcome | None:
    """Open the form for somebody whose vote would count as things stand."""
    if (refusal := deps.objection(click.request_id, person)) is not None:
        return settle(deps, taken, refusal, record=True)
    now = deps.clock()
    view = deps.run(lambda s: forms.prepare(deps.forms, s, click, message=seen.message, now=now))
    failed = forms.open_form(deps.forms, click.trigger, view)
    return settle(deps, taken, failed, record=False, told=failed is None)


def _cast(deps: ChatDeps, taken: Taken, sent: Submission, seen: _Seen, person: Person) -> Outcome | None:
    """Cast the vote that a form says."""
    form = seen.form
    if form is None:
        return settle(deps, taken, forms.UNKNOWN_FORM, record=True)
    outcome = deps.decide(
        sent.request_id,
        person=person,
        verdict=Verdict(form.verdict),
        reason=sent.reason.strip(),
        channel=Channel.SLACK,
        ticket=sent.ticket.strip(),
        check=forms.check_of(deps.forms, sent, form, taken.id),
        said_at=taken.received_at,
        account=taken.account.user,
    )
    if isinstance(outcome, Decided):
        return settle(deps, taken, None, record=False, sentence=outcome.sentence)
    if _was_counted(deps, taken):
        # By another attempt, meanwhile: this one was slow rather than dead.
        return settle(deps, taken, None, record=False, sentence=COUNTED)
    # decide() records its own refusals; what the form itself lacks is in none of them.
    return settle(deps, taken, outcome, record=outcome in (forms.CHANGED, forms.ALREADY_SENT, OVERTAKEN))
