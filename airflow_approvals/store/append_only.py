"""SQL that makes a table append-only, and the first row of the ledger's head.

A fresh install builds tables from the metadata and never runs a migration; an upgrade runs
migrations and never builds from the metadata. So the same statements are attached to the
tables here and executed by the migration: one source, two ways in.

Version 1 is frozen: a migration that has been released executes it. A change is a version 2
with a migration of its own.

What this cannot do: whoever owns the database can drop a trigger. Then the chain tells.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, MetaData, Table, event

from airflow_approvals.core.chain import GENESIS
from airflow_approvals.errors import ConfigurationError

APPEND_ONLY_TABLES_V1 = {"approvals_ledger": "seq", "approvals_policy": "digest"}
HEAD_TABLE = "approvals_ledger_head"

HEAD_ROW_V1 = f"INSERT INTO {HEAD_TABLE} (id, seq, entry_hash) VALUES (1, 0, '{GENESIS}')"  # noqa: S608 - constants

_REFUSE_V1 = """
CREATE OR REPLACE FUNCTION approvals_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' is append-only', ERRCODE = 'restrict_violation';
END
$$
"""
DROP_REFUSE_V1 = "DROP FUNCTION IF EXISTS approvals_refuse_change()"


def triggers_v1(dialect: str, table: str, key: str) -> tuple[str, ...]:
    """Return the statements that let a table grow and nothing else.

    On PostgreSQL the trigger fires per statement, so that a statement which happens to touch no
    row is refused too. On SQLite ``INSERT OR REPLACE`` deletes a row without firing delete
    triggers; the third trigger closes that door.

    Source: https://www.sqlite.org/lang_conflict.html (REPLACE),
    https://www.postgresql.org/docs/current/sql-createtrigger.html.

    :param dialect: ``sqlite`` or ``postgresql``.
    :param key: the primary key's column.
    """
    if dialect == "postgresql":
        return (
            _REFUSE_V1,
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION approvals_refuse_change()",
        )
    refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    replaces = f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key})"  # noqa: S608 - constants
    return (
        f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refuse}",
        f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refuse}",
        f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} {replaces} {refuse}",
    )


def require_supported(dialect: str) -> None:
    """Refuse a database on which once-only facts and append-only tables are not proved.

    :raises ConfigurationError: naming the databases that are supported.
    """
    if dialect not in ("sqlite", "postgresql"):
        raise ConfigurationError(
            f"airflow-approvals does not support a metadata database on {dialect}.",
            "Use PostgreSQL, or SQLite for development.",
        )


def attach(metadata: MetaData) -> None:
    """Attach the refusal, the triggers and the head's row to the tables of the metadata."""
    event.listen(metadata, "before_create", _before_create)
    event.listen(metadata, "after_drop", _after_drop)
    for name in APPEND_ONLY_TABLES_V1:
        event.listen(metadata.tables[name], "after_create", _after_create)
    event.listen(metadata.tables[HEAD_TABLE], "after_create", _after_create_head)


def _before_create(metadata: MetaData, connection: Connection, **_: Any) -> None:
    require_supported(connection.dialect.name)


def _after_create(table: Table, connection: Connection, **_: Any) -> None:
    for statement in triggers_v1(connection.dialect.name, table.name, APPEND_ONLY_TABLES_V1[table.name]):
        connection.exec_driver_sql(statement)


def _after_create_head(table: Table, connection: Connection, **_: Any) -> None:
    connection.exec_driver_sql(HEAD_ROW_V1)


def _after_drop(metadata: MetaData, connection: Connection, **_: Any) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(DROP_REFUSE_V1)
