from __future__ import annotations

import pytest
from sqlalchemy import create_mock_engine
from sqlalchemy.exc import IntegrityError

from airflow_approvals.errors import ConfigurationError
from airflow_approvals.store.tables import metadata

POLICY = "INSERT INTO approvals_policy (digest, text, stored_at) VALUES ('d', 't', '2026-01-01 00:00:00')"
ENTRY = (
    "INSERT INTO approvals_ledger (seq, body, leaf_hash, entry_hash, kind) "
    "VALUES (1, '', 'leaf', 'entry', 'vote_cast')"
)
ON_BOTH = [
    "UPDATE approvals_ledger SET kind = 'x'",
    "UPDATE approvals_policy SET text = 'x'",
    "DELETE FROM approvals_ledger",
    "DELETE FROM approvals_policy WHERE digest = 'd'",
    ENTRY.replace("'leaf'", "'x'") + " ON CONFLICT (seq) DO UPDATE SET leaf_hash = 'x'",
    POLICY + " ON CONFLICT (digest) DO UPDATE SET text = 'x'",
]
ON_SQLITE = [
    ENTRY.replace("INSERT", "INSERT OR REPLACE").replace("'leaf'", "'x'"),
    POLICY.replace("INSERT", "REPLACE"),
]
ON_POSTGRESQL = [
    "TRUNCATE approvals_ledger",
    "TRUNCATE approvals_policy CASCADE",
    "UPDATE approvals_ledger SET kind = 'x' WHERE seq = 99",
    "DELETE FROM approvals_policy WHERE digest = 'unknown'",
]


@pytest.fixture
def filled(database):
    database.execute(ENTRY)
    database.execute(POLICY)
    return database


def content(database):
    with database.engine.connect() as connection:
        ledger = connection.exec_driver_sql("SELECT seq, leaf_hash, kind FROM approvals_ledger").all()
        policy = connection.exec_driver_sql("SELECT digest, text FROM approvals_policy").all()
    return [tuple(row) for row in ledger], [tuple(row) for row in policy]


def refused(database, statement):
    with pytest.raises(IntegrityError, match="is append-only"):
        database.execute(statement)
    assert content(database) == ([(1, "leaf", "vote_cast")], [("d", "t")])


@pytest.mark.parametrize("statement", ON_BOTH)
def test_what_is_written_stays(filled, statement):
    refused(filled, statement)


@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("statement", ON_SQLITE)
def test_replacing_is_refused_on_sqlite(filled, statement):
    refused(filled, statement)


@pytest.mark.parametrize("empty_database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("statement", ON_POSTGRESQL)
def test_truncating_and_touching_nothing_are_refused_on_postgresql(filled, statement):
    refused(filled, statement)


def test_tables_can_be_dropped_and_made_again(filled):
    metadata.drop_all(filled.engine)
    metadata.create_all(filled.engine)
    assert content(filled) == ([], [])
    filled.execute(ENTRY)
    filled.execute(POLICY)
    refused(filled, ON_BOTH[0])


def test_mysql_is_refused_with_one_sentence_before_anything_is_made():
    made = []
    engine = create_mock_engine("mysql://", lambda statement, *_: made.append(statement))
    with pytest.raises(ConfigurationError, match="does not support a metadata database on mysql"):
        metadata.create_all(engine, checkfirst=False)
    assert made == []
