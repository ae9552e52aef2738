"""Transactions of the control plane, on Airflow's own engine.

A control transaction reads, decides and writes; nothing may change in between. On PostgreSQL
row locks see to that. SQLite has none, and a transaction that begins by reading cannot always
be upgraded to a writing one; so there it takes the write lock first (``BEGIN IMMEDIATE``).

Source: https://www.sqlite.org/lang_transaction.html (2.2, immediate transactions);
https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from airflow_approvals.errors import ConfigurationError

T = TypeVar("T")
log = logging.getLogger(__name__)

#: Seconds to rest before the second and the third try.
PAUSES = (0.05, 0.25)
_SQLITE_TRANSIENT = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
#: serialization_failure and deadlock_detected.
_POSTGRES_TRANSIENT = ("40001", "40P01")


@contextmanager
def control_session() -> Iterator[Session]:
    """Yield a session whose transaction is committed at the end and rolled back on an error.

    The session must not be committed inside: what it holds is one decision. Rows stay readable
    after the commit.

    :raises ConfigurationError: when this process has no metadata database.
    """
    engine = _engine()
    with Session(engine, expire_on_commit=False) as session, session.begin():
        if engine.dialect.name == "sqlite":
            session.connection().exec_driver_sql("BEGIN IMMEDIATE")
        yield session


@contextmanager
def read_session() -> Iterator[Session]:
    """Yield a session that only reads and holds nobody up; what it writes is rolled back.

    :raises ConfigurationError: when this process has no metadata database.
    """
    with Session(_engine(), expire_on_commit=False) as session:
        yield session
        session.rollback()


def run_read(work: Callable[[Session], T]) -> T:
    """Run work that only reads, and return what it returned; it holds nobody up.

    :raises ConfigurationError: when this process has no metadata database.
    """
    with read_session() as session:
        return work(session)


def run_transaction(work: Callable[[Session], T]) -> T:
    """Run work in a control transaction and commit it, trying three times in all.

    Another try follows only when the database says that a rolled-back transaction may simply be
    run again: SQLite's lock was held for too long, or PostgreSQL chose it as the victim of a
    deadlock or serialization failure.

    :param work: may run more than once, so it must touch nothing but its session.
    :returns: what ``work`` returned on the try that was committed.
    """
    for pause in PAUSES:
        try:
            with control_session() as session:
                return work(session)
        except DBAPIError as error:
            if not is_transient(error):
                raise
            log.info("A transaction is run again: %s", type(error.orig).__name__)
            time.sleep(pause)
    with control_session() as session:
        return work(session)


def database_clock() -> datetime:
    """Return the database's own time of day; SQLite's is this machine's, in whole seconds."""
    found: datetime = run_read(lambda session: session.execute(select(func.now())).scalar_one())
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def is_transient(error: DBAPIError) -> bool:
    """Whether the database says that the same transaction may succeed when run again."""
    cause = error.orig
    if isinstance(cause, sqlite3.OperationalError):
        # The low byte is the primary code; the rest tells kinds of busy apart.
        return (getattr(cause, "sqlite_errorcode", 0) & 0xFF) in _SQLITE_TRANSIENT
    code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    return code in _POSTGRES_TRANSIENT


def _engine() -> Engine:
    from airflow import settings

    engine: Engine | None = getattr(settings, "engine", None)
    if engine is None:
        raise ConfigurationError(
            "This process has no connection to Airflow's metadata database.",
            "The control plane runs in the API server and in `airflow approvals` commands only.",
        )
    return engine
