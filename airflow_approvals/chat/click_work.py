"""Acts in a chat at work: what that rests on, and how each is settled, recorded and answered.

An act is settled in one transaction with what follows from it: the private word, the message
brought up to date, the entry of a refusal. Whoever still waits for an answer gets it at once
and not a second time in private.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy.orm import Session

from airflow_approvals.channels.slack_interaction import Click, Submission
from airflow_approvals.chat import refusal_entries
from airflow_approvals.chat.forms import FormDeps
from airflow_approvals.control import faults, outbox
from airflow_approvals.control.decisions import Decided
from airflow_approvals.control.outbox import Append, Transactions
from airflow_approvals.control.votes import Check
from airflow_approvals.core.models import Channel, Person, Refusal, Verdict
from airflow_approvals.errors import ContractError
from airflow_approvals.identity.slack_accounts import Account, Owner
from airflow_approvals.store import inbox
from airflow_approvals.store import outbox as rows
from airflow_approvals.store.tables import InboxRow, RequestRow

_SLACK = Channel.SLACK.value

#: Codes of refusals that are told to nobody: who is meant is somewhere else, or no person.
UNTOLD = frozenset(
    {"slack_not_in_policy", "foreign_workspace", "unknown_message", "slack_stranger", "slack_bot"}
)
#: Where the way out is to link the account.
_LINKABLE = frozenset({"not_linked", "email_ambiguous"})
#: Where the way out is Airflow's own page.
_PAGE = frozenset(
    {
        "slack_unavailable",
        "identity_conflict",
        "link_unvouched",
        "link_cooling_down",
        "form_not_opened",
        "not_processed",
        "page_only",
    }
)


class Decide(Protocol):
    """Casts a vote, as :func:`airflow_approvals.control.decisions.decide` does."""

    def __call__(
        self,
        request_id: str,
        *,
        person: Person,
        verdict: Verdict,
        reason: str,
        channel: Channel,
        ticket: str,
        check: Check,
        said_at: datetime,
        account: str,
    ) -> Decided | Refusal:
        """Return what the vote did, or why it was refused."""


class Reply(Protocol):
    """The answer to a form, as long as somebody waits for it."""

    def claim(self) -> bool:
        """Whether the person can still be answered at once; then they are not told otherwise."""


@dataclass(frozen=True)
class ChatDeps:
    """What working on clicks and forms rests on.

    ``team`` reads the workspace of the active policy; ``owner_of``, ``find_person`` and
    ``may_answer`` (Airflow user name, DAG id) ask Slack and Airflow's auth manager, ``objection``
    (request, person) the groups, all outside of any transaction; ``decide`` has its own.
    ``invite`` makes the address by which an account can be linked, ``page`` that of a request.
    ``clock`` gives the present, aware.
    """

    run: Transactions
    append: Append
    team: Callable[[Session], str | None]
    owner_of: Callable[[Account], Owner | Refusal]
    find_person: Callable[[str], Person | Refusal | None]
    may_answer: Callable[[str, str], bool]
    objection: Callable[[str, Person], Refusal | None]
    decide: Decide
    forms: FormDeps
    invite: Callable[[Session, Account], str]
    page: Callable[[RequestRow], str]
    clock: Callable[[], datetime]


@dataclass(frozen=True)
class Outcome:
    """What came of it: a sentence, a place to go on, and the refusal, when it was one."""

    sentence: str
    url: str
    refusal: Refusal | None = None


@dataclass(frozen=True)
class Taken:
    """An act at work; ``state`` is the inbox state that marks this attempt."""

    id: str
    state: str
    said: Click | Submission
    received_at: datetime
    reply: Reply | None = None

    @property
    def account(self) -> Account:
        """The account whose act it is."""
        return Account(self.said.user_team, self.said.user)


def put_aside(session: Session, row: InboxRow, error: ContractError, *, now: datetime) -> None:
    """Leave what another version wrote to that version, and close it once it is given up."""
    faults.report(f"read what was kept from {row.channel}", error)
    if now - row.received_at >= inbox.GIVE_UP_AFTER:
        inbox.move(session, row.id, row.state, inbox.DONE)


def settle(
    deps: ChatDeps,
    taken: Taken,
    refusal: Refusal | None,
    *,
    record: bool,
    sentence: str = "",
    told: bool = False,
) -> Outcome | None:
    """Close it together with what follows from it, unless another attempt has done so."""

    def finish(session: Session) -> Outcome | None:
        if not inbox.move(session, taken.id, taken.state, inbox.DONE):
            return None
        request = session.get(RequestRow, taken.said.request_id)
        page = deps.page(request) if request is not None else ""
        outcome = Outcome(refusal.sentence if refusal else sentence, page, refusal)
        if refusal is not None and refusal.code in _LINKABLE:
            outcome = Outcome(refusal.sentence, deps.invite(session, taken.account), refusal)
        if not told:
            _tell(deps, session, taken, outcome)
        if record and refusal is not None:
            _record(deps, session, taken.said, refusal)
        return outcome

    return deps.run(finish)


def _tell(deps: ChatDeps, session: Session, taken: Taken, outcome: Outcome) -> None:
    """Tell the person, and bring a message up to date that still had its buttons."""
    code = outcome.refusal.code if outcome.refusal is not None else ""
    if code in UNTOLD:
        return
    if taken.reply is None or not taken.reply.claim():
        _whisper(deps, session, taken.said, outcome)
    if outcome.refusal is not None and outcome.refusal.status == 409:
        rows.add(session, taken.said.request_id, outbox.UPDATE, channel=_SLACK, now=deps.clock())


def _whisper(deps: ChatDeps, session: Session, said: Click | Submission, outcome: Outcome) -> None:
    code = outcome.refusal.code if outcome.refusal is not None else ""
    linked = code in _LINKABLE | _PAGE and outcome.url
    rows.add(
        session,
        said.request_id,
        outbox.WHISPER,
        channel=_SLACK,
        recipient=said.user,
        text=f"{outcome.sentence}\n{outcome.url}" if linked else outcome.sentence,
        now=deps.clock(),
    )


def _record(deps: ChatDeps, session: Session, said: Click | Submission, refusal: Refusal) -> None:
    on = {"verdict": said.verdict.value, "message": said.message} if isinstance(said, Click) else {}
    refusal_entries.enter(
        deps.append,
        session,
        said.request_id,
        refusal,
        actor=said.actor,
        channel=Channel.SLACK,
        now=deps.clock(),
        **on,
    )


def whisper(deps: ChatDeps, said: Click | Submission, outcome: Outcome) -> None:
    """Tell somebody in private what came of what they did, unless they are not to be told."""
    if outcome.refusal is None or outcome.refusal.code not in UNTOLD:
        deps.run(lambda session: _whisper(deps, session, said, outcome))
