"""Forms shown in a chat, links of chat accounts to Airflow users, attempts at such links.

Revision ID: 0003
Revises: 0002

A released migration never changes: the types are written out.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NAME = sa.String(250)
DIGEST = sa.String(71)
WORD = sa.String(50)
ID = sa.String(32)
SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)

TABLES = ("approvals_chat_form", "approvals_account_link", "approvals_link_attempt")


def upgrade() -> None:
    op.create_table(
        "approvals_chat_form",
        sa.Column("nonce_hash", DIGEST, nullable=False),
        sa.Column("request_id", ID, nullable=False),
        sa.Column("team", NAME, nullable=False),
        sa.Column("account", NAME, nullable=False),
        sa.Column("message", NAME, nullable=False),
        sa.Column("verdict", WORD, nullable=False),
        sa.Column("shown", DIGEST, nullable=False),
        sa.Column("opened_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.Column("used_by", DIGEST, nullable=True),
        sa.PrimaryKeyConstraint("nonce_hash", name=op.f("pk_approvals_chat_form")),
        if_not_exists=True,
    )
    op.create_index(
        "ix_approvals_chat_form_expires_at", "approvals_chat_form", ["expires_at"], if_not_exists=True
    )
    _create_links()
    _create_attempts()


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def _create_links() -> None:
    op.create_table(
        "approvals_account_link",
        sa.Column("id", SEQUENCE, nullable=False, autoincrement=True),
        sa.Column("channel", WORD, nullable=False),
        sa.Column("team", NAME, nullable=False),
        sa.Column("account", NAME, nullable=False),
        sa.Column("person_id", NAME, nullable=False),
        sa.Column("person_name", NAME, nullable=False),
        sa.Column("standing", sa.Boolean(), nullable=True),
        sa.Column("linked_at", INSTANT, nullable=False),
        sa.Column("vouched_by", NAME, nullable=True),
        sa.Column("votes_from", INSTANT, nullable=True),
        sa.Column("ended_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals_account_link")),
        sa.UniqueConstraint(
            "channel",
            "team",
            "account",
            "standing",
            name=op.f("uq_approvals_account_link_channel_team_account_standing"),
        ),
        sa.UniqueConstraint(
            "channel",
            "team",
            "person_id",
            "standing",
            name=op.f("uq_approvals_account_link_channel_team_person_id_standing"),
        ),
        if_not_exists=True,
    )


def _create_attempts() -> None:
    op.create_table(
        "approvals_link_attempt",
        sa.Column("id", ID, nullable=False),
        sa.Column("channel", WORD, nullable=False),
        sa.Column("team", NAME, nullable=False),
        sa.Column("account", NAME, nullable=False),
        sa.Column("person_id", NAME, nullable=True),
        sa.Column("person_name", NAME, nullable=True),
        sa.Column("nonce_hash", DIGEST, nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.Column("used_at", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals_link_attempt")),
        sa.UniqueConstraint("nonce_hash", name=op.f("uq_approvals_link_attempt_nonce_hash")),
        if_not_exists=True,
    )
    op.create_index(
        "ix_approvals_link_attempt_account",
        "approvals_link_attempt",
        ["channel", "team", "account"],
        if_not_exists=True,
    )
