"""Presses in Teams at work: what that rests on, and how each is settled and recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from airflow_approvals.channels import teams_cards as cards
from airflow_approvals.channels.demands import Demands
from airflow_approvals.channels.facts import RequestFacts
from airflow_approvals.channels.teams_activity import Answer, Press
from airflow_approvals.chat import refusal_entries
from airflow_approvals.chat.click_work import Decide
from airflow_approvals.chat.teams_refusals import FOREIGN_TENANT, NO_TENANT, UNKNOWN_CARD
from airflow_approvals.control import outbox
from airflow_approvals.control.outbox import Append, Transactions
from airflow_approvals.control.preview import Preview
from airflow_approvals.core.entra import TeamsIdentities
from airflow_approvals.core.models import Channel, Person, Refusal, Verdict
from airflow_approvals.store import inbox
from airflow_approvals.store import outbox as rows

TEAMS = Channel.TEAMS.value
VERDICTS = {**cards.ASKS, **cards.CONFIRMS}


@dataclass(frozen=True)
class TeamsDeps:
    """What working on presses rests on.

    ``tenant`` is the configured one; ``directory`` reads the active policy; ``find_person``,
    ``may_answer`` (Airflow user name, DAG id) and ``preview`` ask Airflow's auth manager and the
    groups, outside of any transaction; ``decide`` has its own. ``demands`` says what a voter has to write,
    ``viewers`` gives the Teams accounts that get a view of their own; ``claim`` says whether the
    person still waits, and from then on for this answer.
    """

    run: Transactions
    append: Append
    tenant: str
    directory: Callable[[Session], TeamsIdentities | None]
    find_person: Callable[[str], Person | Refusal | None]
    may_answer: Callable[[str, str], bool]
    preview: Callable[[str, Person], Preview | Refusal]
    decide: Decide
    facts: Callable[[Session, str], RequestFacts]
    demands: Callable[[Session, str, Verdict], Demands]
    viewers: Callable[[RequestFacts], tuple[str, ...]]
    clock: Callable[[], datetime]
    claim: Callable[[], bool] = lambda: True


@dataclass(frozen=True)
class Taken:
    """A press at work; ``state`` is the inbox state that marks this attempt."""

    press: Press
    state: str
    received_at: datetime


@dataclass(frozen=True)
class Done:
    """What came of a press: the answer, a refusal, and whether that is still to be recorded."""

    answer: Answer
    refusal: Refusal | None = None
    record: bool = False


def finish(deps: TeamsDeps, session: Session, taken: Taken, done: Done) -> None:
    """Close the press together with what follows from it, unless its vote or another attempt has."""
    press = taken.press
    if not inbox.move(session, press.inbox_id, taken.state, inbox.DONE) or done.refusal is None:
        return
    if done.refusal.status == 409:
        rows.add(session, press.request_id, outbox.UPDATE, channel=TEAMS, now=deps.clock())
    if press.verb in cards.CONFIRMS and not deps.claim():
        _whisper(deps, session, press, done.refusal)
    if done.record:
        _record(deps, session, press, done.refusal)


def _whisper(deps: TeamsDeps, session: Session, press: Press, refusal: Refusal) -> None:
    if refusal in (NO_TENANT, FOREIGN_TENANT, UNKNOWN_CARD):
        return
    rows.add(
        session,
        press.request_id,
        outbox.WHISPER,
        channel=TEAMS,
        recipient=press.account,
        text=refusal.sentence,
        now=deps.clock(),
    )


def _record(deps: TeamsDeps, session: Session, press: Press, refusal: Refusal) -> None:
    refusal_entries.enter(
        deps.append,
        session,
        press.request_id,
        refusal,
        actor=press.actor,
        channel=Channel.TEAMS,
        now=deps.clock(),
        verdict=VERDICTS[press.verb].value,
        message=f"{press.conversation}|{press.message}",
    )
