from __future__ import annotations

import sqlite3
import threading
import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError, OperationalError

from airflow_approvals.errors import ConfigurationError
from airflow_approvals.store.session import PAUSES, control_session, read_session, run_transaction

PUT = text("INSERT INTO t (a) VALUES (:a)")
ALL = text("SELECT a FROM t ORDER BY a")


@pytest.fixture
def table(empty_database):
    empty_database.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b INTEGER)")
    return empty_database


def rows(table):
    with table.session() as session:
        return list(session.scalars(ALL))


def test_commits_at_the_end(table):
    with control_session() as session:
        session.execute(PUT, {"a": 1})
        assert rows_if_readable(table) in ([], None)
    assert rows(table) == [1]


def rows_if_readable(table):
    try:
        return rows(table)
    except OperationalError:
        return None


def test_rolls_back_on_an_error(table):
    def work(session):
        session.execute(PUT, {"a": 1})
        raise RuntimeError

    with pytest.raises(RuntimeError):
        run_transaction(work)
    assert rows(table) == []


def test_cannot_be_committed_halfway(table):
    def work(session):
        session.execute(PUT, {"a": 1})
        session.commit()
        session.execute(PUT, {"a": 2})

    with pytest.raises(InvalidRequestError):
        run_transaction(work)


def test_savepoints_work_inside(table):
    with control_session() as session:
        session.execute(PUT, {"a": 1})
        with pytest.raises(IntegrityError), session.begin_nested():
            session.execute(PUT, {"a": 1})
        session.execute(PUT, {"a": 2})
    assert rows(table) == [1, 2]


def test_reading_session_writes_nothing(table):
    with read_session() as session:
        session.execute(PUT, {"a": 1})
    assert rows(table) == []


def test_process_without_a_database_is_told(monkeypatch):
    from airflow import settings

    monkeypatch.setattr(settings, "engine", None)
    with pytest.raises(ConfigurationError, match="metadata database"):
        run_transaction(lambda session: None)


def test_error_that_would_come_again_is_not_tried_again(table):
    calls = []

    def work(session):
        calls.append(1)
        session.execute(PUT, {"a": 1})
        session.execute(PUT, {"a": 1})

    with pytest.raises(IntegrityError):
        run_transaction(work)
    assert len(calls) == 1


class TestSQLite:
    """A control transaction takes the write lock before it reads."""

    @pytest.fixture
    def path(self, tmp_path, monkeypatch):
        from airflow import settings
        from sqlalchemy import create_engine

        path = tmp_path / "locks.db"
        engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 0.02})
        monkeypatch.setattr(settings, "engine", engine)
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY)")
        connection.close()
        yield path
        engine.dispose()

    def test_write_lock_is_taken_before_the_first_statement(self, path):
        other = sqlite3.connect(path, timeout=0, isolation_level=None)
        with control_session():
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
            assert other.execute("SELECT count(*) FROM t").fetchone() == (0,)
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
        other.close()

    def test_reading_session_takes_no_lock(self, path):
        other = sqlite3.connect(path, timeout=0, isolation_level=None)
        with read_session() as session:
            session.execute(ALL).all()
            other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
        other.close()

    def test_what_was_read_cannot_change_before_it_is_written(self, path):
        def add_one_more(session):
            count = len(session.execute(ALL).all())
            time.sleep(0.001)
            session.execute(PUT, {"a": count + 1})

        def several():
            for _ in range(5):
                while True:
                    try:
                        run_transaction(add_one_more)
                        break
                    except OperationalError:
                        continue

        threads = [threading.Thread(target=several) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with sqlite3.connect(path) as connection:
            assert connection.execute("SELECT count(*), max(a) FROM t").fetchone() == (15, 15)
        connection.close()

    def test_busy_database_is_tried_again(self, path, monkeypatch):
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        def freed_after_the_first_try():
            yield 0.0
            other.execute("ROLLBACK")
            yield 0.0

        monkeypatch.setattr("airflow_approvals.store.session.PAUSES", freed_after_the_first_try())
        run_transaction(lambda session: session.execute(PUT, {"a": 1}))
        assert other.execute("SELECT a FROM t").fetchall() == [(1,)]
        other.close()

    def test_database_that_stays_busy_is_given_up(self, path):
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        with pytest.raises(OperationalError, match="locked"):
            run_transaction(lambda session: None)
        assert time.monotonic() - begun >= sum(PAUSES)
        other.close()


@pytest.mark.parametrize("empty_database", ["postgresql"], indirect=True)
class TestPostgreSQL:
    """The database says itself when a transaction may be run again."""

    @pytest.fixture
    def pair(self, empty_database):
        empty_database.execute("CREATE TABLE pair (a INTEGER PRIMARY KEY, n INTEGER)")
        empty_database.execute("INSERT INTO pair VALUES (1, 0), (2, 0)")
        return empty_database.engine

    def test_victim_of_a_deadlock_is_run_again(self, pair):
        both_hold_one = threading.Barrier(2)
        tries = []

        def crossing(first, second):
            def work(session):
                tries.append(first)
                session.execute(text("UPDATE pair SET n = n + 1 WHERE a = :a"), {"a": first})
                if len(tries) <= 2:
                    both_hold_one.wait(60)
                session.execute(text("UPDATE pair SET n = n + 1 WHERE a = :a"), {"a": second})

            return lambda: run_transaction(work)

        threads = [threading.Thread(target=crossing(1, 2)), threading.Thread(target=crossing(2, 1))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        with pair.connect() as connection:
            assert connection.exec_driver_sql("SELECT n FROM pair").scalars().all() == [2, 2]
        assert len(tries) == 3

    def test_serialization_failure_is_tried_three_times_in_all(self, pair):
        tries = []

        def work(session):
            tries.append(1)
            session.execute(text("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$"))

        with pytest.raises(DBAPIError):
            run_transaction(work)
        assert len(tries) == 3
