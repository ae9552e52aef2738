"""Wiring of Teams to this server: its presses and its decisions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from airflow_approvals.channels.facts import RequestFacts
from airflow_approvals.channels.teams_activity import Answer, Press
from airflow_approvals.chat import teams
from airflow_approvals.chat.teams_work import TeamsDeps
from airflow_approvals.config.settings import Settings
from airflow_approvals.control import teams_media
from airflow_approvals.control.decisions import decide
from airflow_approvals.control.preview import Preview, preview
from airflow_approvals.control.views import request_facts
from airflow_approvals.control.vote_demands import demands_of
from airflow_approvals.core.entra import TeamsIdentities
from airflow_approvals.core.models import Channel, Person, Refusal
from airflow_approvals.identity import users
from airflow_approvals.store import ledger, policies
from airflow_approvals.store.session import run_transaction


def begin(press: Press, claim: Callable[[], bool]) -> Callable[[], Answer]:
    """Write a press down; return what works on it and gives the answer.

    :param claim: whether the person still waits, and from then on for this answer.
    """
    return teams.begin(_deps(Settings.load(), claim), press)


def process_waiting() -> int:
    """Work on presses that were left over."""
    settings = Settings.load()
    if not teams_media.bot_configured(settings):
        return 0
    return teams.process_waiting(_deps(settings, claim=lambda: False))


def _deps(settings: Settings, claim: Callable[[], bool]) -> TeamsDeps:
    bot = teams_media.bot(settings)

    def viewers(facts: RequestFacts) -> tuple[str, ...]:
        return bot.viewers(facts) if bot is not None else ()

    return TeamsDeps(
        run=run_transaction,
        append=ledger.append,
        tenant=settings.teams_tenant or "",
        directory=_directory,
        find_person=users.find_person,
        may_answer=_may_answer,
        preview=_preview,
        decide=decide,
        facts=request_facts,
        demands=demands_of,
        viewers=viewers,
        clock=lambda: datetime.now(UTC),
        claim=claim,
    )


def _directory(session: Session) -> TeamsIdentities | None:
    policy = policies.active_policy(session)
    return policy.teams if policy is not None else None


def _may_answer(name: str, dag_id: str) -> bool:
    user = users.find_user(name)
    return user is not None and users.may_answer(user, dag_id)


def _preview(request_id: str, person: Person) -> Preview | Refusal:
    return preview(request_id, person=person, channel=Channel.TEAMS)
