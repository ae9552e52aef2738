"""Links of chat accounts to Airflow users, and attempts at them, as they are stored."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from airflow_approvals.store.chat_tables import AccountLinkRow, LinkAttemptRow

_standing = AccountLinkRow.standing.is_(True)


def standing(session: Session, channel: str, team: str) -> Sequence[AccountLinkRow]:
    """Return the links that stand in a workspace, those that wait for somebody included."""
    found = select(AccountLinkRow).where(*_in(channel, team), _standing)
    return list(session.scalars(found.order_by(AccountLinkRow.id)))


def of_account(session: Session, channel: str, team: str, account: str) -> AccountLinkRow | None:
    """Return the link of an account that stands."""
    found = select(AccountLinkRow).where(*_in(channel, team), AccountLinkRow.account == account, _standing)
    return session.scalar(found)


def of_person(session: Session, channel: str, team: str, names: Collection[str]) -> AccountLinkRow | None:
    """Return the link that stands of a person, by id or name."""
    theirs = or_(AccountLinkRow.person_id.in_(names), AccountLinkRow.person_name.in_(names))
    return session.scalar(select(AccountLinkRow).where(*_in(channel, team), theirs, _standing).limit(1))


def was_linked(session: Session, channel: str, team: str, account: str, person_id: str) -> bool:
    """Whether the account or the person was ever linked in that workspace, to whomever."""
    either = or_(AccountLinkRow.account == account, AccountLinkRow.person_id == person_id)
    return session.scalar(select(AccountLinkRow.id).where(*_in(channel, team), either).limit(1)) is not None


def people_ever(session: Session, channel: str, team: str, account: str) -> frozenset[str]:
    """Return the ids and names of everybody the account was ever linked to."""
    found = select(AccountLinkRow.person_id, AccountLinkRow.person_name)
    rows = session.execute(found.where(*_in(channel, team), AccountLinkRow.account == account))
    return frozenset(name for row in rows for name in row)


def open_attempt(
    session: Session, channel: str, team: str, account: str, *, now: datetime
) -> LinkAttemptRow | None:
    """Return an attempt of an account that nobody has taken up yet and that still may be."""
    found = select(LinkAttemptRow).where(
        LinkAttemptRow.channel == channel,
        LinkAttemptRow.team == team,
        LinkAttemptRow.account == account,
        LinkAttemptRow.nonce_hash.is_(None),
        LinkAttemptRow.expires_at > now,
    )
    return session.scalar(found.order_by(LinkAttemptRow.created_at.desc()).limit(1))


def attempt_with(session: Session, nonce_hash: str) -> LinkAttemptRow | None:
    """Return, locked, the attempt whose nonce has that hash."""
    found = select(LinkAttemptRow).where(LinkAttemptRow.nonce_hash == nonce_hash)
    return session.scalar(found.with_for_update().execution_options(populate_existing=True))


def _in(channel: str, team: str) -> tuple[ColumnElement[bool], ...]:
    return AccountLinkRow.channel == channel, AccountLinkRow.team == team
