"""The first tables of the control plane.

Revision ID: 0001
Revises:

A released migration never changes, so nothing here follows the tables as they are today: the
types are written out, and the triggers are version 1 of their SQL, which is frozen as well.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from airflow_approvals.store.append_only import (
    APPEND_ONLY_TABLES_V1,
    DROP_REFUSE_V1,
    HEAD_ROW_V1,
    triggers_v1,
)

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NAME = sa.String(250)
DIGEST = sa.String(71)
WORD = sa.String(50)
ID = sa.String(32)
TEXT = sa.Text()
NUMBER = sa.Integer()
SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)

TABLES = (
    "approvals_policy",
    "approvals_policy_active",
    "approvals_intake",
    "approvals_request",
    "approvals_vote",
    "approvals_grant",
    "approvals_binding",
    "approvals_actor",
    "approvals_ledger",
    "approvals_ledger_head",
    "approvals_outbox",
    "approvals_delivery",
    "approvals_inbox",
    "approvals_lease",
)


def upgrade() -> None:
    _create_policies()
    _create_requests()
    _create_grants()
    _create_ledger()
    _create_messages()
    op.execute(HEAD_ROW_V1)
    for table, key in APPEND_ONLY_TABLES_V1.items():
        for statement in triggers_v1(op.get_context().dialect.name, table, key):
            op.execute(statement)


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
    if op.get_context().dialect.name == "postgresql":
        op.execute(DROP_REFUSE_V1)


def _place() -> tuple[sa.Column[str] | sa.Column[int], ...]:
    return (
        sa.Column("dag_id", NAME, nullable=False),
        sa.Column("run_id", NAME, nullable=False),
        sa.Column("task_id", NAME, nullable=False),
        sa.Column("map_index", NUMBER, nullable=False),
    )


def _create_policies() -> None:
    op.create_table(
        "approvals_policy",
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("text", TEXT, nullable=False),
        sa.Column("stored_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_approvals_policy")),
    )

    op.create_table(
        "approvals_policy_active",
        sa.Column("id", NUMBER, nullable=False, autoincrement=False),
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("activated_at", INSTANT, nullable=False),
        sa.Column("activated_by", NAME, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_approvals_policy_active_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals_policy_active")),
    )


def _create_requests() -> None:
    op.create_table(
        "approvals_intake",
        sa.Column("id", SEQUENCE, nullable=False, autoincrement=True),
        sa.Column("ti_id", sa.String(length=36), nullable=False),
        sa.Column("try_number", NUMBER, nullable=False),
        sa.Column("ask_digest", DIGEST, nullable=False),
        sa.Column("ask", TEXT, nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        *_place(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals_intake")),
        sa.UniqueConstraint(
            "ti_id", "try_number", "ask_digest", name=op.f("uq_approvals_intake_ti_id_try_number_ask_digest")
        ),
    )
    op.create_index("ix_approvals_intake_state", "approvals_intake", ["state", "id"])
    op.create_table(
        "approvals_request",
        sa.Column("id", ID, nullable=False),
        sa.Column("ti_id", sa.String(length=36), nullable=False),
        sa.Column("try_number", NUMBER, nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("ask", TEXT, nullable=False),
        sa.Column("ask_digest", DIGEST, nullable=False),
        sa.Column("manifest_digest", DIGEST, nullable=False),
        sa.Column("action", NAME, nullable=False),
        sa.Column("sink", NAME, nullable=False),
        sa.Column("label", WORD, nullable=False),
        sa.Column("policy_digest", DIGEST, nullable=False),
        sa.Column("pinned", TEXT, nullable=False),
        sa.Column("requesters", TEXT, nullable=False),
        sa.Column("unattributed", sa.Boolean(), nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.Column("decided_at", INSTANT, nullable=True),
        sa.Column("decided_because", TEXT, nullable=True),
        sa.Column("gate_tries", NUMBER, nullable=True),
        *_place(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals_request")),
        sa.UniqueConstraint("ti_id", "try_number", name=op.f("uq_approvals_request_ti_id_try_number")),
    )
    op.create_index(
        "ix_approvals_request_place", "approvals_request", ["dag_id", "run_id", "task_id", "map_index"]
    )
    op.create_index("ix_approvals_request_state_expires_at", "approvals_request", ["state", "expires_at"])
    op.create_table(
        "approvals_vote",
        sa.Column("id", SEQUENCE, nullable=False, autoincrement=True),
        sa.Column("request_id", ID, nullable=False),
        sa.Column("person_id", NAME, nullable=False),
        sa.Column("person_name", NAME, nullable=False),
        sa.Column("verdict", WORD, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("channel", WORD, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals_vote")),
        sa.UniqueConstraint("request_id", "person_id", name=op.f("uq_approvals_vote_request_id_person_id")),
    )


def _create_grants() -> None:
    op.create_table(
        "approvals_grant",
        sa.Column("id", ID, nullable=False),
        sa.Column("request_id", ID, nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("claims", TEXT, nullable=False),
        sa.Column("jws", TEXT, nullable=False),
        sa.Column("path_tries", TEXT, nullable=False),
        sa.Column("issued_at", INSTANT, nullable=False),
        sa.Column("not_after", INSTANT, nullable=False),
        sa.Column("ended_at", INSTANT, nullable=True),
        sa.Column("ended_because", TEXT, nullable=True),
        *_place(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals_grant")),
        sa.UniqueConstraint("request_id", name=op.f("uq_approvals_grant_request_id")),
    )
    op.create_index(
        "ix_approvals_grant_place", "approvals_grant", ["dag_id", "run_id", "task_id", "map_index"]
    )
    op.create_index("ix_approvals_grant_state", "approvals_grant", ["state", "not_after"])
    op.create_table(
        "approvals_binding",
        sa.Column("grant_id", ID, nullable=False),
        sa.Column("task_id", NAME, nullable=False),
        sa.Column("map_index", NUMBER, nullable=False),
        sa.Column("first_try", NUMBER, nullable=False),
        sa.Column("bound_at", INSTANT, nullable=False),
        sa.Column("handed_out", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("grant_id", name=op.f("pk_approvals_binding")),
    )

    op.create_table(
        "approvals_actor",
        sa.Column("id", SEQUENCE, nullable=False, autoincrement=True),
        sa.Column("person_id", NAME, nullable=False),
        sa.Column("person_name", NAME, nullable=False),
        sa.Column("act", WORD, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        *_place(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals_actor")),
    )
    op.create_index("ix_approvals_actor_run", "approvals_actor", ["dag_id", "run_id"])


def _create_ledger() -> None:
    op.create_table(
        "approvals_ledger",
        sa.Column("seq", SEQUENCE, nullable=False, autoincrement=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("leaf_hash", DIGEST, nullable=False),
        sa.Column("entry_hash", DIGEST, nullable=False),
        sa.Column("kind", WORD, nullable=False),
        sa.Column("request_id", ID, nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_approvals_ledger")),
    )
    op.create_index("ix_approvals_ledger_request_id", "approvals_ledger", ["request_id", "seq"])
    op.create_table(
        "approvals_ledger_head",
        sa.Column("id", NUMBER, nullable=False, autoincrement=False),
        sa.Column("seq", SEQUENCE, nullable=False),
        sa.Column("entry_hash", DIGEST, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_approvals_ledger_head_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals_ledger_head")),
    )


def _create_messages() -> None:
    op.create_table(
        "approvals_outbox",
        sa.Column("id", SEQUENCE, nullable=False, autoincrement=True),
        sa.Column("request_id", ID, nullable=False),
        sa.Column("channel", WORD, nullable=False),
        sa.Column("kind", WORD, nullable=False),
        sa.Column("recipient", NAME, nullable=False),
        sa.Column("text", TEXT, nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("attempts", NUMBER, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("due_at", INSTANT, nullable=False),
        sa.Column("last_error", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals_outbox")),
    )
    op.create_index("ix_approvals_outbox_state_due_at", "approvals_outbox", ["state", "due_at"])
    op.create_table(
        "approvals_delivery",
        sa.Column("id", SEQUENCE, nullable=False, autoincrement=True),
        sa.Column("request_id", ID, nullable=False),
        sa.Column("channel", WORD, nullable=False),
        sa.Column("recipient", NAME, nullable=False),
        sa.Column("message", NAME, nullable=False),
        sa.Column("delivered_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals_delivery")),
        sa.UniqueConstraint(
            "request_id",
            "channel",
            "recipient",
            name=op.f("uq_approvals_delivery_request_id_channel_recipient"),
        ),
    )

    op.create_table(
        "approvals_inbox",
        sa.Column("id", DIGEST, nullable=False),
        sa.Column("channel", WORD, nullable=False),
        sa.Column("payload", TEXT, nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals_inbox")),
    )
    op.create_index("ix_approvals_inbox_state", "approvals_inbox", ["state", "received_at"])
    op.create_table(
        "approvals_lease",
        sa.Column("name", WORD, nullable=False),
        sa.Column("holder", NAME, nullable=False),
        sa.Column("acquired_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_approvals_lease")),
    )
