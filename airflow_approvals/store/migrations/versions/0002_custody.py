"""The custodian's tables, break-glass, standing approvals, verified evidence.

Revision ID: 0002
Revises: 0001

A released migration never changes: the types are written out.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0002"
down_revision = "0001"
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
    "approvals_custody",
    "approvals_released_object",
    "approvals_custodian",
    "approvals_break_glass",
    "approvals_standing",
    "approvals_standing_wish",
    "approvals_standing_use",
)


def upgrade() -> None:
    for name in ("verified", "verified_jws"):
        if _is_missing("approvals_request", name):
            op.add_column("approvals_request", sa.Column(name, TEXT, nullable=True))
    _create_custody()
    _create_break_glass()
    _create_standing()


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
    with op.batch_alter_table("approvals_request") as request:
        request.drop_column("verified_jws")
        request.drop_column("verified")


def _is_missing(table: str, column: str) -> bool:
    """Tell whether to add a column: Airflow stamps tables it finds without a version as 0001."""
    if context.is_offline_mode():
        return True
    return column not in {found["name"] for found in sa.inspect(op.get_bind()).get_columns(table)}


def _create_custody() -> None:
    op.create_table(
        "approvals_custody",
        sa.Column("id", SEQUENCE, nullable=False, autoincrement=True),
        sa.Column("request_id", ID, nullable=False),
        sa.Column("kind", WORD, nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("attempts", NUMBER, nullable=False),
        sa.Column("holder", NAME, nullable=True),
        sa.Column("intent", TEXT, nullable=True),
        sa.Column("result", TEXT, nullable=True),
        sa.Column("error", TEXT, nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("due_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals_custody")),
        sa.UniqueConstraint("request_id", "kind", name=op.f("uq_approvals_custody_request_id_kind")),
        if_not_exists=True,
    )
    op.create_index(
        "ix_approvals_custody_state_due_at", "approvals_custody", ["state", "due_at"], if_not_exists=True
    )
    op.create_table(
        "approvals_released_object",
        sa.Column("grant_id", ID, nullable=False),
        sa.Column("name_digest", DIGEST, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("sha256", DIGEST, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("released_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("grant_id", "name_digest", name=op.f("pk_approvals_released_object")),
        if_not_exists=True,
    )
    op.create_table(
        "approvals_custodian",
        sa.Column("connection", NAME, nullable=False),
        sa.Column("fingerprint", NAME, nullable=False),
        sa.Column("holder", NAME, nullable=False),
        sa.Column("announced_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("connection", name=op.f("pk_approvals_custodian")),
        if_not_exists=True,
    )


def _create_break_glass() -> None:
    op.create_table(
        "approvals_break_glass",
        sa.Column("request_id", ID, nullable=False),
        sa.Column("person_id", NAME, nullable=False),
        sa.Column("person_name", NAME, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("ticket", NAME, nullable=False),
        sa.Column("skipped", TEXT, nullable=False),
        sa.Column("used_at", INSTANT, nullable=False),
        sa.Column("review_due_at", INSTANT, nullable=False),
        sa.Column("reviewed_at", INSTANT, nullable=True),
        sa.Column("reviewed_by", NAME, nullable=True),
        sa.Column("review", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_approvals_break_glass")),
        if_not_exists=True,
    )
    op.create_index(
        "ix_approvals_break_glass_used_at", "approvals_break_glass", ["used_at"], if_not_exists=True
    )


def _create_standing() -> None:
    op.create_table(
        "approvals_standing",
        sa.Column("id", ID, nullable=False),
        sa.Column("request_id", ID, nullable=False),
        sa.Column("dag_id", NAME, nullable=False),
        sa.Column("task_id", NAME, nullable=False),
        sa.Column("sink", NAME, nullable=False),
        sa.Column("action", NAME, nullable=False),
        sa.Column("shape", DIGEST, nullable=False),
        sa.Column("uses", NUMBER, nullable=False),
        sa.Column("used", NUMBER, nullable=False),
        sa.Column("not_after", INSTANT, nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("ended_at", INSTANT, nullable=True),
        sa.Column("ended_because", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals_standing")),
        sa.UniqueConstraint("request_id", name=op.f("uq_approvals_standing_request_id")),
        if_not_exists=True,
    )
    op.create_index(
        "ix_approvals_standing_gate",
        "approvals_standing",
        ["dag_id", "task_id", "sink", "action", "state"],
        if_not_exists=True,
    )
    _create_wishes_and_uses()


def _create_wishes_and_uses() -> None:
    op.create_table(
        "approvals_standing_wish",
        sa.Column("request_id", ID, nullable=False),
        sa.Column("person_id", NAME, nullable=False),
        sa.Column("uses", NUMBER, nullable=False),
        sa.Column("within_seconds", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("request_id", "person_id", name=op.f("pk_approvals_standing_wish")),
        if_not_exists=True,
    )
    op.create_table(
        "approvals_standing_use",
        sa.Column("request_id", ID, nullable=False),
        sa.Column("standing_id", ID, nullable=False),
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("used_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_approvals_standing_use")),
        sa.UniqueConstraint(
            "standing_id", "number", name=op.f("uq_approvals_standing_use_standing_id_number")
        ),
        if_not_exists=True,
    )
