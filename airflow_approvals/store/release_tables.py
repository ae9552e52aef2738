"""Tables of what the custodian does, and of approvals out of the ordinary."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, Integer, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from airflow_approvals.store.base import DIGEST, ID, NAME, SEQUENCE, WORD, Base
from airflow_approvals.store.types import AwareDateTime


class CustodyRow(Base):
    """A job of the custodian: one of each kind per request.

    ``kind``: ``verify`` (re-read and re-scan the staged objects) or ``release`` (copy them).
    ``state``: ``due``, ``working``, ``publishing`` (the intent is durable; the copy may be visible),
    ``done`` or ``failed``. ``holder`` and ``due_at`` say who works on it and when another may take over.
    ``intent`` and ``result`` are JSON texts: where the copy is and becomes visible; evidence or receipt.
    """

    __tablename__ = "approvals_custody"
    __table_args__ = (
        UniqueConstraint("request_id", "kind"),
        Index("ix_approvals_custody_state_due_at", "state", "due_at"),
    )
    id: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
    request_id: Mapped[str] = mapped_column(ID)
    kind: Mapped[str] = mapped_column(WORD)
    state: Mapped[str] = mapped_column(WORD)
    attempts: Mapped[int] = mapped_column(Integer)
    holder: Mapped[str | None] = mapped_column(NAME)
    intent: Mapped[str | None] = mapped_column(Text)
    result: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(AwareDateTime)
    due_at: Mapped[datetime] = mapped_column(AwareDateTime)


class ReleasedObjectRow(Base):
    """An object that left under a grant; under one grant each leaves once.

    ``name_digest`` is over the object's name, which may be longer than an index takes.
    """

    __tablename__ = "approvals_released_object"
    grant_id: Mapped[str] = mapped_column(ID, primary_key=True)
    name_digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(DIGEST)
    size: Mapped[int] = mapped_column(BigInteger)
    released_at: Mapped[datetime] = mapped_column(AwareDateTime)


class CustodianRow(Base):
    """A connection that a custodian serves, and the keyed fingerprint of it; no credential."""

    __tablename__ = "approvals_custodian"
    connection: Mapped[str] = mapped_column(NAME, primary_key=True)
    fingerprint: Mapped[str] = mapped_column(NAME)
    holder: Mapped[str] = mapped_column(NAME)
    announced_at: Mapped[datetime] = mapped_column(AwareDateTime)


class BreakGlassRow(Base):
    """A gate that was opened in an emergency, by whom and why, and whether it was reviewed.

    ``skipped`` is a JSON list of the people whose votes it went without.
    """

    __tablename__ = "approvals_break_glass"
    __table_args__ = (Index("ix_approvals_break_glass_used_at", "used_at"),)
    request_id: Mapped[str] = mapped_column(ID, primary_key=True)
    person_id: Mapped[str] = mapped_column(NAME)
    person_name: Mapped[str] = mapped_column(NAME)
    reason: Mapped[str] = mapped_column(Text)
    ticket: Mapped[str] = mapped_column(NAME)
    skipped: Mapped[str] = mapped_column(Text)
    used_at: Mapped[datetime] = mapped_column(AwareDateTime)
    review_due_at: Mapped[datetime] = mapped_column(AwareDateTime)
    reviewed_at: Mapped[datetime | None] = mapped_column(AwareDateTime)
    reviewed_by: Mapped[str | None] = mapped_column(NAME)
    review: Mapped[str | None] = mapped_column(Text)


class StandingRow(Base):
    """An approval that carries over to later requests of the same gate, while all is alike.

    ``shape`` is the digest of what has to stay alike. ``state``: ``live`` or ``ended``.
    """

    __tablename__ = "approvals_standing"
    __table_args__ = (
        UniqueConstraint("request_id"),
        Index("ix_approvals_standing_gate", "dag_id", "task_id", "sink", "action", "state"),
    )
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    request_id: Mapped[str] = mapped_column(ID)
    dag_id: Mapped[str] = mapped_column(NAME)
    task_id: Mapped[str] = mapped_column(NAME)
    sink: Mapped[str] = mapped_column(NAME)
    action: Mapped[str] = mapped_column(NAME)
    shape: Mapped[str] = mapped_column(DIGEST)
    uses: Mapped[int] = mapped_column(Integer)
    used: Mapped[int] = mapped_column(Integer)
    not_after: Mapped[datetime] = mapped_column(AwareDateTime)
    state: Mapped[str] = mapped_column(WORD)
    created_at: Mapped[datetime] = mapped_column(AwareDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(AwareDateTime)
    ended_because: Mapped[str | None] = mapped_column(Text)


class StandingWishRow(Base):
    """An approver's wish that a vote carry over, kept beside the vote until the request is final."""

    __tablename__ = "approvals_standing_wish"
    request_id: Mapped[str] = mapped_column(ID, primary_key=True)
    person_id: Mapped[str] = mapped_column(NAME, primary_key=True)
    uses: Mapped[int] = mapped_column(Integer)
    within_seconds: Mapped[int] = mapped_column(BigInteger)


class StandingUseRow(Base):
    """A request that was approved by a standing approval; ``number`` counts from 1."""

    __tablename__ = "approvals_standing_use"
    __table_args__ = (UniqueConstraint("standing_id", "number"),)
    request_id: Mapped[str] = mapped_column(ID, primary_key=True)
    standing_id: Mapped[str] = mapped_column(ID)
    number: Mapped[int] = mapped_column(Integer)
    used_at: Mapped[datetime] = mapped_column(AwareDateTime)
