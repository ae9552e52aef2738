"""Tables of what people do in a chat: forms they were shown, and the accounts that are theirs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Boolean, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from airflow_approvals.store.base import DIGEST, ID, NAME, SEQUENCE, WORD, Base
from airflow_approvals.store.types import AwareDateTime


class ChatFormRow(Base):
    """A form that was opened for one account, and what it showed.

    ``shown`` is the digest of the form as it was rendered; a vote by it counts only while the
    request still renders to the same. ``used_by`` is the id of the callback that was counted.
    """

    __tablename__ = "approvals_chat_form"
    __table_args__ = (Index("ix_approvals_chat_form_expires_at", "expires_at"),)
    nonce_hash: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    request_id: Mapped[str] = mapped_column(ID)
    team: Mapped[str] = mapped_column(NAME)
    account: Mapped[str] = mapped_column(NAME)
    message: Mapped[str] = mapped_column(NAME)
    verdict: Mapped[str] = mapped_column(WORD)
    shown: Mapped[str] = mapped_column(DIGEST)
    opened_at: Mapped[datetime] = mapped_column(AwareDateTime)
    expires_at: Mapped[datetime] = mapped_column(AwareDateTime)
    used_by: Mapped[str | None] = mapped_column(DIGEST)


class AccountLinkRow(Base):
    """A chat account that its owner linked to their Airflow user. It is never changed to another.

    ``standing`` is true while the link stands and NULL once it has ended, so that UNIQUE lets an
    account and a person have one standing link and any number of ended ones. ``votes_from`` is
    when it begins to vote; without one it waits for a second person.
    """

    __tablename__ = "approvals_account_link"
    __table_args__ = (
        UniqueConstraint("channel", "team", "account", "standing"),
        UniqueConstraint("channel", "team", "person_id", "standing"),
    )
    id: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
    channel: Mapped[str] = mapped_column(WORD)
    team: Mapped[str] = mapped_column(NAME)
    account: Mapped[str] = mapped_column(NAME)
    person_id: Mapped[str] = mapped_column(NAME)
    person_name: Mapped[str] = mapped_column(NAME)
    standing: Mapped[bool | None] = mapped_column(Boolean)
    linked_at: Mapped[datetime] = mapped_column(AwareDateTime)
    vouched_by: Mapped[str | None] = mapped_column(NAME)
    votes_from: Mapped[datetime | None] = mapped_column(AwareDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(AwareDateTime)


class LinkAttemptRow(Base):
    """A chat account that asked to be linked, and the person who took that up.

    The nonce is sent to the account alone and comes back through the person's session; only its
    hash is kept. Until somebody takes the attempt up there is neither person nor nonce.
    """

    __tablename__ = "approvals_link_attempt"
    __table_args__ = (
        UniqueConstraint("nonce_hash"),
        Index("ix_approvals_link_attempt_account", "channel", "team", "account"),
    )
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    channel: Mapped[str] = mapped_column(WORD)
    team: Mapped[str] = mapped_column(NAME)
    account: Mapped[str] = mapped_column(NAME)
    person_id: Mapped[str | None] = mapped_column(NAME)
    person_name: Mapped[str | None] = mapped_column(NAME)
    nonce_hash: Mapped[str | None] = mapped_column(DIGEST)
    created_at: Mapped[datetime] = mapped_column(AwareDateTime)
    expires_at: Mapped[datetime] = mapped_column(AwareDateTime)
    used_at: Mapped[datetime | None] = mapped_column(AwareDateTime)
