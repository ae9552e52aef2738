"""Tables of the control plane, in Airflow's metadata database but not in Airflow's metadata.

No foreign key leads into Airflow: its rows are deleted with runs and purged by
``airflow db clean``; these stay. Every once-only fact is also a UNIQUE constraint.
Documents are stored as canonical JSON text, so that what was hashed is what is kept.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from airflow_approvals.core.models import Place
from airflow_approvals.store import append_only
from airflow_approvals.store.types import AwareDateTime

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_NAME = String(250)
_DIGEST = String(71)
_WORD = String(50)
_SEQUENCE = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """Declarative base with its own metadata."""

    metadata = metadata


class PlaceColumns:
    """The four columns that say where a gate stands."""

    dag_id: Mapped[str] = mapped_column(_NAME)
    run_id: Mapped[str] = mapped_column(_NAME)
    task_id: Mapped[str] = mapped_column(_NAME)
    map_index: Mapped[int] = mapped_column(Integer)

    @property
    def place(self) -> Place:
        """The four columns as one value."""
        return Place(self.dag_id, self.run_id, self.task_id, self.map_index)


class PolicyRow(Base):
    """Every policy that was ever active, by digest. Append-only."""

    __tablename__ = "approvals_policy"
    digest: Mapped[str] = mapped_column(_DIGEST, primary_key=True)
    text: Mapped[str] = mapped_column(Text)
    stored_at: Mapped[datetime] = mapped_column(AwareDateTime)


class ActivePolicyRow(Base):
    """The one row that names the policy in force."""

    __tablename__ = "approvals_policy_active"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    digest: Mapped[str] = mapped_column(_DIGEST)
    activated_at: Mapped[datetime] = mapped_column(AwareDateTime)
    activated_by: Mapped[str] = mapped_column(_NAME)


class IntakeRow(PlaceColumns, Base):
    """An ask as a gate's task sent it. The first of a try counts; see ``state``.

    ``state``: ``new``, ``promoted``, ``conflict`` (another ask on the same try) or ``invalid``.
    A try is one (task instance id, try number); the id changes on clear and on retry.
    """

    __tablename__ = "approvals_intake"
    __table_args__ = (
        UniqueConstraint("ti_id", "try_number", "ask_digest"),
        Index("ix_approvals_intake_state", "state", "id"),
    )
    id: Mapped[int] = mapped_column(_SEQUENCE, primary_key=True, autoincrement=True)
    ti_id: Mapped[str] = mapped_column(String(36))
    try_number: Mapped[int] = mapped_column(Integer)
    ask_digest: Mapped[str] = mapped_column(_DIGEST)
    ask: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(_WORD)
    received_at: Mapped[datetime] = mapped_column(AwareDateTime)


class RequestRow(PlaceColumns, Base):
    """A request: the ask, pinned by the server together with what it will be judged by.

    ``gate_tries`` is the gate's ``max_tries`` after it was resumed with the outcome: while it is
    the same, the gate has been retried by Airflow and not cleared by anybody.
    """

    __tablename__ = "approvals_request"
    __table_args__ = (
        UniqueConstraint("ti_id", "try_number"),
        Index("ix_approvals_request_state_expires_at", "state", "expires_at"),
        Index("ix_approvals_request_place", "dag_id", "run_id", "task_id", "map_index"),
    )
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    ti_id: Mapped[str] = mapped_column(String(36))
    try_number: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(_WORD)
    ask: Mapped[str] = mapped_column(Text)
    ask_digest: Mapped[str] = mapped_column(_DIGEST)
    manifest_digest: Mapped[str] = mapped_column(_DIGEST)
    action: Mapped[str] = mapped_column(_NAME)
    sink: Mapped[str] = mapped_column(_NAME)
    label: Mapped[str] = mapped_column(_WORD)
    policy_digest: Mapped[str] = mapped_column(_DIGEST)
    pinned: Mapped[str] = mapped_column(Text)
    requesters: Mapped[str] = mapped_column(Text)
    unattributed: Mapped[bool] = mapped_column(Boolean)
    subject: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(AwareDateTime)
    expires_at: Mapped[datetime] = mapped_column(AwareDateTime)
    decided_at: Mapped[datetime | None] = mapped_column(AwareDateTime)
    decided_because: Mapped[str | None] = mapped_column(Text)
    gate_tries: Mapped[int | None] = mapped_column(Integer)


class VoteRow(Base):
    """One person's vote on one request."""

    __tablename__ = "approvals_vote"
    __table_args__ = (UniqueConstraint("request_id", "person_id"),)
    id: Mapped[int] = mapped_column(_SEQUENCE, primary_key=True, autoincrement=True)
    request_id: Mapped[str] = mapped_column(String(32))
    person_id: Mapped[str] = mapped_column(_NAME)
    person_name: Mapped[str] = mapped_column(_NAME)
    verdict: Mapped[str] = mapped_column(_WORD)
    reason: Mapped[str] = mapped_column(Text)
    channel: Mapped[str] = mapped_column(_WORD)
    at: Mapped[datetime] = mapped_column(AwareDateTime)


class GrantRow(PlaceColumns, Base):
    """The permission that follows an approval, and where its life has got to."""

    __tablename__ = "approvals_grant"
    __table_args__ = (
        UniqueConstraint("request_id"),
        Index("ix_approvals_grant_place", "dag_id", "run_id", "task_id", "map_index"),
        Index("ix_approvals_grant_state", "state", "not_after"),
    )
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    request_id: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(_WORD)
    claims: Mapped[str] = mapped_column(Text)
    jws: Mapped[str] = mapped_column(Text)
    path_tries: Mapped[str] = mapped_column(Text)
    issued_at: Mapped[datetime] = mapped_column(AwareDateTime)
    not_after: Mapped[datetime] = mapped_column(AwareDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(AwareDateTime)
    ended_because: Mapped[str | None] = mapped_column(Text)


class BindingRow(Base):
    """The one task that a run-bound grant opened the sink's connection for."""

    __tablename__ = "approvals_binding"
    grant_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    task_id: Mapped[str] = mapped_column(_NAME)
    map_index: Mapped[int] = mapped_column(Integer)
    first_try: Mapped[int] = mapped_column(Integer)
    bound_at: Mapped[datetime] = mapped_column(AwareDateTime)
    handed_out: Mapped[int] = mapped_column(Integer)


class ActorRow(PlaceColumns, Base):
    """Somebody who shaped a run: cleared, marked or deleted something in it.

    ``task_id`` is empty when the whole run was acted on. ``act`` is ``clear``, ``mark`` or
    ``delete``.
    """

    __tablename__ = "approvals_actor"
    __table_args__ = (Index("ix_approvals_actor_run", "dag_id", "run_id"),)
    id: Mapped[int] = mapped_column(_SEQUENCE, primary_key=True, autoincrement=True)
    person_id: Mapped[str] = mapped_column(_NAME)
    person_name: Mapped[str] = mapped_column(_NAME)
    act: Mapped[str] = mapped_column(_WORD)
    at: Mapped[datetime] = mapped_column(AwareDateTime)


class LedgerRow(Base):
    """One ledger entry. ``body`` is what was hashed, byte for byte. Append-only.

    ``kind`` and ``request_id`` repeat what the body says, for look-ups; verification compares.
    """

    __tablename__ = "approvals_ledger"
    __table_args__ = (Index("ix_approvals_ledger_request_id", "request_id", "seq"),)
    seq: Mapped[int] = mapped_column(_SEQUENCE, primary_key=True, autoincrement=False)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    leaf_hash: Mapped[str] = mapped_column(_DIGEST)
    entry_hash: Mapped[str] = mapped_column(_DIGEST)
    kind: Mapped[str] = mapped_column(_WORD)
    request_id: Mapped[str | None] = mapped_column(String(32))


class LedgerHeadRow(Base):
    """The newest entry; locked by every append, which is what makes the sequence gap-free."""

    __tablename__ = "approvals_ledger_head"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(_SEQUENCE)
    entry_hash: Mapped[str] = mapped_column(_DIGEST)


class OutboxRow(Base):
    """A message still to be sent. Written in the transaction of what it tells.

    ``kind``: ``request`` (announce it), ``update`` (bring the message up to date) or
    ``whisper`` (a private word to ``recipient``). ``state``: ``due``, ``sent``, ``failed``.
    """

    __tablename__ = "approvals_outbox"
    __table_args__ = (Index("ix_approvals_outbox_state_due_at", "state", "due_at"),)
    id: Mapped[int] = mapped_column(_SEQUENCE, primary_key=True, autoincrement=True)
    request_id: Mapped[str] = mapped_column(String(32))
    channel: Mapped[str] = mapped_column(_WORD)
    kind: Mapped[str] = mapped_column(_WORD)
    recipient: Mapped[str] = mapped_column(_NAME)
    text: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(_WORD)
    attempts: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(AwareDateTime)
    due_at: Mapped[datetime] = mapped_column(AwareDateTime)
    last_error: Mapped[str | None] = mapped_column(Text)


class DeliveryRow(Base):
    """A message that stands in a channel, and how to address it there."""

    __tablename__ = "approvals_delivery"
    __table_args__ = (UniqueConstraint("request_id", "channel", "recipient"),)
    id: Mapped[int] = mapped_column(_SEQUENCE, primary_key=True, autoincrement=True)
    request_id: Mapped[str] = mapped_column(String(32))
    channel: Mapped[str] = mapped_column(_WORD)
    recipient: Mapped[str] = mapped_column(_NAME)
    message: Mapped[str] = mapped_column(_NAME)
    delivered_at: Mapped[datetime] = mapped_column(AwareDateTime)


class InboxRow(Base):
    """A signed callback, kept before it is acknowledged; its id makes a replay a no-op.

    ``state``: ``new``, ``taken-N`` (the Nth attempt is at work) or ``done``.
    """

    __tablename__ = "approvals_inbox"
    __table_args__ = (Index("ix_approvals_inbox_state", "state", "received_at"),)
    id: Mapped[str] = mapped_column(_DIGEST, primary_key=True)
    channel: Mapped[str] = mapped_column(_WORD)
    payload: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(_WORD)
    received_at: Mapped[datetime] = mapped_column(AwareDateTime)


class LeaseRow(Base):
    """Who may run a loop that must not run twice, and until when."""

    __tablename__ = "approvals_lease"
    name: Mapped[str] = mapped_column(_WORD, primary_key=True)
    holder: Mapped[str] = mapped_column(_NAME)
    acquired_at: Mapped[datetime] = mapped_column(AwareDateTime)
    expires_at: Mapped[datetime] = mapped_column(AwareDateTime)


append_only.attach(metadata)
