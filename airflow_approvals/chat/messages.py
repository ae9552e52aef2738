"""Wiring of the chats to this server: their clicks, their decisions, their outbox."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from sqlalchemy.orm import Session

from airflow_approvals.channels.courier import Courier
from airflow_approvals.chat import clicks, teams_messages
from airflow_approvals.chat.click_work import ChatDeps
from airflow_approvals.chat.forms import FormDeps
from airflow_approvals.chat.turns import Turns
from airflow_approvals.config.settings import Settings
from airflow_approvals.control import account_links, events, faults, judging, media, outbox, reminders
from airflow_approvals.control.decisions import decide
from airflow_approvals.control.preview import objection
from airflow_approvals.control.views import page_url, request_facts, show_again
from airflow_approvals.control.vote_demands import demands_of
from airflow_approvals.core.models import Channel
from airflow_approvals.identity import slack_accounts, slack_profiles, users
from airflow_approvals.identity.directory import Membership
from airflow_approvals.store import ledger, policies
from airflow_approvals.store import outbox as rows
from airflow_approvals.store.session import run_read, run_transaction

_turns = Turns()


def process_and_deliver() -> int:
    """Work on waiting clicks, then send what is due; return how many things were settled.

    A medium that is configured wrong holds up no other.
    """
    steps: dict[str, Callable[[], int]] = {
        "work on what waits from Slack": process_clicks,
        "work on what waits from Teams": teams_messages.process_waiting,
        "deliver messages": deliver,
    }
    return sum(_done(what, step) for what, step in steps.items())


def _done(what: str, step: Callable[[], int]) -> int:
    try:
        return step()
    except Exception as error:
        faults.report(what, error)
        return 0


def process_clicks() -> int:
    """Work on the clicks and forms that wait."""
    if not media.slack_configured(Settings.load()):
        return 0
    return clicks.process_inbox(chat_deps())


def chat_deps() -> ChatDeps:
    """Return what working on clicks and forms rests on in this server."""
    return ChatDeps(
        run=run_transaction,
        append=ledger.append,
        team=_team,
        owner_of=slack_accounts.owner_of,
        find_person=users.find_person,
        may_answer=_may_answer,
        objection=partial(objection, channel=Channel.SLACK),
        decide=decide,
        forms=FormDeps(request_facts, demands_of, slack_profiles.desk),
        invite=lambda session, account: account_links.invite(session, account, now=_now()),
        page=page_url,
        clock=_now,
    )


def base_url() -> str:
    """Return where Airflow is found by a browser."""
    return Settings.load().base_url


def deliver() -> int:
    """Send what is due in every medium; one that fails holds up no other.

    Where another thread is at it, that one looks again, and 0 is returned.
    """
    settings = Settings.load()
    chats = sum(
        _turns.take(courier.medium, partial(_deliver_by, courier)) for courier in media.couriers(settings)
    )
    return chats + _turns.take("webhook", partial(_deliver_events, settings))


def _deliver_events(settings: Settings) -> int:
    if not events.configured(settings):
        return 0
    try:
        return events.deliver(events.channel(settings), settings)
    except Exception as error:
        faults.report("deliver events to the webhook", error)
        return 0


def _deliver_by(courier: Courier) -> int:
    try:
        due = run_read(lambda session: rows.due(session, channel=courier.medium, now=_now(), limit=1))
        # Groups are asked for before any transaction, and only when there is something to say.
        members = judging.membership_now() if due else None
        return outbox.deliver_due(
            outbox.OutboxDeps(
                run=run_transaction,
                append=ledger.append,
                facts=partial(request_facts, members=members),
                nudge=reminders.word,
                given_up=partial(_show_again, members=members),
                courier=courier,
                clock=_now,
            )
        )
    except Exception as error:
        faults.report(f"deliver messages by {courier.medium}", error)
        return 0


def _show_again(request_id: str, members: Membership | None) -> None:
    run_transaction(lambda session: show_again(session, request_id, members))


def _now() -> datetime:
    return datetime.now(UTC)


def _team(session: Session) -> str | None:
    policy = policies.active_policy(session)
    return policy.slack_team if policy is not None else None


def _may_answer(name: str, dag_id: str) -> bool:
    user = users.find_user(name)
    return user is not None and users.may_answer(user, dag_id)
