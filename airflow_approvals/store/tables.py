"""Tables of the control plane, in Airflow's metadata database but not in Airflow's metadata.

No foreign key leads into Airflow: its rows are deleted with runs and purged by
``airflow db clean``; these stay. Every once-only fact is also a UNIQUE constraint.
Documents are stored as canonical JSON text, so that what was hashed is what is kept.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from airflow_approvals.store import append_only, chat_tables, release_tables
from airflow_approvals.store.base import DIGEST, ID, NAME, SEQUENCE, WORD, Base, PlaceColumns
from airflow_approvals.store.types import AwareDateTime

#: The metadata of every table, these and those of the other modules of tables.
metadata = Base.metadata
#: Importing them puts their tables into the same metadata.
ALSO = (chat_tables, release_tables)


class PolicyRow(Base):
    """Every policy that was ever active, by digest. Append-only."""

    __tablename__ = "approvals_policy"
    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    text: Mapped[str] = mapped_column(Text)
    stored_at: Mapped[datetime] = mapped_column(AwareDateTime)


class ActivePolicyRow(Base):
    """The one row that names the policy in force."""

    __tablename__ = "approvals_policy_active"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    digest: Mapped[str] = mapped_column(DIGEST)
    activated_at: Mapped[datetime] = mapped_column(AwareDateTime)
    activated_by: Mapped[str] = mapped_column(NAME)


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
    id: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
    ti_id: Mapped[str] = mapped_column(String(36))
    try_number: Mapped[int] = mapped_column(Integer)
    ask_digest: Mapped[str] = mapped_column(DIGEST)
    ask: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(WORD)
    received_at: Mapped[datetime] = mapped_column(AwareDateTime)


class RequestRow(PlaceColumns, Base):
    """A request: the ask, pinned by the server together with what it will be judged by.

    ``gate_tries`` is the gate's ``max_tries`` after it was resumed with the outcome: while it is
    the same, the gate has been retried by Airflow and not cleared by anybody. ``verified`` is the
    evidence that the custodian found and signed (``verified_jws``), where the bar demands it.
    """

    __tablename__ = "approvals_request"
    __table_args__ = (
        UniqueConstraint("ti_id", "try_number"),
        Index("ix_approvals_request_state_expires_at", "state", "expires_at"),
        Index("ix_approvals_request_place", "dag_id", "run_id", "task_id", "map_index"),
    )
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    ti_id: Mapped[str] = mapped_column(String(36))
    try_number: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(WORD)
    ask: Mapped[str] = mapped_column(Text)
    ask_digest: Mapped[str] = mapped_column(DIGEST)
    manifest_digest: Mapped[str] = mapped_column(DIGEST)
    action: Mapped[str] = mapped_column(NAME)
    sink: Mapped[str] = mapped_column(NAME)
    label: Mapped[str] = mapped_column(WORD)
    policy_digest: Mapped[str] = mapped_column(DIGEST)
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
    verified: Mapped[str | None] = mapped_column(Text)
    verified_jws: Mapped[str | None] = mapped_column(Text)


class VoteRow(Base):
    """One person's vote on one request."""

    __tablename__ = "approvals_vote"
    __table_args__ = (UniqueConstraint("request_id", "person_id"),)
    id: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
    request_id: Mapped[str] = mapped_column(ID)
    person_id: Mapped[str] = mapped_column(NAME)
    person_name: Mapped[str] = mapped_column(NAME)
    verdict: Mapped[str] = mapped_column(WORD)
    reason: Mapped[str] = mapped_column(Text)
    channel: Mapped[str] = mapped_column(WORD)
    at: Mapped[datetime] = mapped_column(AwareDateTime)


class GrantRow(PlaceColumns, Base):
    """The permission that follows an approval, and where its life has got to."""

    __tablename__ = "approvals_grant"
    __table_args__ = (
        UniqueConstraint("request_id"),
        Index("ix_approvals_grant_place", "dag_id", "run_id", "task_id", "map_index"),
        Index("ix_approvals_grant_state", "state", "not_after"),
    )
    id: Mapped[str] = mapped_column(ID, primary_key=True)
    request_id: Mapped[str] = mapped_column(ID)
    state: Mapped[str] = mapped_column(WORD)
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
    grant_id: Mapped[str] = mapped_column(ID, primary_key=True)
    task_id: Mapped[str] = mapped_column(NAME)
    map_index: Mapped[int] = mapped_column(Integer)
    first_try: Mapped[int] = mapped_column(Integer)
    bound_at: Mapped[datetime] = mapped_column(AwareDateTime)
    handed_out: Mapped[int] = mapped_column(Integer)


class ActorRow(PlaceColumns, Base):
    """Somebody who shaped a run: cleared, marked, deleted or edited something in it.

    ``task_id`` is empty when the whole run was acted on, ``run_id`` when its DAG was; ``dag_id`` is
    ``~`` for every DAG, and empty for an asset's events (see :mod:`airflow_approvals.store.actors`).
    ``act`` is ``clear``, ``mark``, ``delete``, ``edit`` (what tasks read), ``unpause`` (the DAG),
    ``feed`` (with an asset event), ``trigger`` (from a run they shaped) or ``command`` (a name that a
    command line gave the run which triggered this one).
    """

    __tablename__ = "approvals_actor"
    __table_args__ = (Index("ix_approvals_actor_run", "dag_id", "run_id"),)
    id: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
    person_id: Mapped[str] = mapped_column(NAME)
    person_name: Mapped[str] = mapped_column(NAME)
    act: Mapped[str] = mapped_column(WORD)
    at: Mapped[datetime] = mapped_column(AwareDateTime)


class LedgerRow(Base):
    """One ledger entry. ``body`` is what was hashed, byte for byte. Append-only.

    ``kind`` and ``request_id`` repeat what the body says, for look-ups; verification compares.
    """

    __tablename__ = "approvals_ledger"
    __table_args__ = (Index("ix_approvals_ledger_request_id", "request_id", "seq"),)
    seq: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=False)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    leaf_hash: Mapped[str] = mapped_column(DIGEST)
    entry_hash: Mapped[str] = mapped_column(DIGEST)
    kind: Mapped[str] = mapped_column(WORD)
    request_id: Mapped[str | None] = mapped_column(ID)


class LedgerHeadRow(Base):
    """The newest entry; locked by every append, which is what makes the sequence gap-free."""

    __tablename__ = "approvals_ledger_head"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(SEQUENCE)
    entry_hash: Mapped[str] = mapped_column(DIGEST)


class OutboxRow(Base):
    """A message still to be sent. Written in the transaction of what it tells.

    ``kind``: ``request`` (announce it), ``update`` (bring the message up to date), ``story`` (what
    happened, in the request's thread), ``remind`` or ``escalate`` (a word in the thread as well; for
    an escalation ``recipient`` is the group), ``whisper`` (a private word to ``recipient`` beside the
    message), ``outcome`` (a private message to ``recipient``). ``state``: ``due``, ``sent``,
    ``failed``, ``dropped``.
    """

    __tablename__ = "approvals_outbox"
    __table_args__ = (Index("ix_approvals_outbox_state_due_at", "state", "due_at"),)
    id: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
    request_id: Mapped[str] = mapped_column(ID)
    channel: Mapped[str] = mapped_column(WORD)
    kind: Mapped[str] = mapped_column(WORD)
    recipient: Mapped[str] = mapped_column(NAME)
    text: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(WORD)
    attempts: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(AwareDateTime)
    due_at: Mapped[datetime] = mapped_column(AwareDateTime)
    last_error: Mapped[str | None] = mapped_column(Text)


class DeliveryRow(Base):
    """A message that stands in a channel, and how to address it there."""

    __tablename__ = "approvals_delivery"
    __table_args__ = (UniqueConstraint("request_id", "channel", "recipient"),)
    id: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
    request_id: Mapped[str] = mapped_column(ID)
    channel: Mapped[str] = mapped_column(WORD)
    recipient: Mapped[str] = mapped_column(NAME)
    message: Mapped[str] = mapped_column(NAME)
    delivered_at: Mapped[datetime] = mapped_column(AwareDateTime)


class InboxRow(Base):
    """A signed callback, kept before it is acknowledged; its id makes a replay a no-op.

    ``state``: ``new``, ``taken-N`` (the Nth attempt is at work) or ``done``.
    """

    __tablename__ = "approvals_inbox"
    __table_args__ = (Index("ix_approvals_inbox_state", "state", "received_at"),)
    id: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    channel: Mapped[str] = mapped_column(WORD)
    payload: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(WORD)
    received_at: Mapped[datetime] = mapped_column(AwareDateTime)


class LeaseRow(Base):
    """Who may run a loop that must not run twice, and until when."""

    __tablename__ = "approvals_lease"
    name: Mapped[str] = mapped_column(WORD, primary_key=True)
    holder: Mapped[str] = mapped_column(NAME)
    acquired_at: Mapped[datetime] = mapped_column(AwareDateTime)
    expires_at: Mapped[datetime] = mapped_column(AwareDateTime)


append_only.attach(metadata)
