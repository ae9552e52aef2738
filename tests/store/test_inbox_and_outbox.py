"""The rows that several processes reach for at once, on a real PostgreSQL.

SQLite lets one writer in at a time; here the writers truly overlap.
"""

from __future__ import annotations

import secrets
import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from airflow_approvals.store import inbox, outbox
from airflow_approvals.store.tables import DeliveryRow, InboxRow, OutboxRow
from tests.live.postgres import postgres

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TOGETHER = 6


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with postgres(tmp_path_factory.mktemp("pg")) as url:
        made = create_engine(url, pool_size=TOGETHER)
        for table in (InboxRow, OutboxRow, DeliveryRow):
            table.__table__.create(made)
        yield made
        made.dispose()


@pytest.fixture
def run(engine):
    def work_in_a_transaction(work):
        with Session(engine, expire_on_commit=False) as session, session.begin():
            return work(session)

    return work_in_a_transaction


def all_at_once(engine, work):
    """Run the same work in overlapping transactions: each holds on until all have begun."""
    barrier = threading.Barrier(TOGETHER)
    outcomes = []

    def one():
        with Session(engine, expire_on_commit=False) as session, session.begin():
            session.scalar(select(1))
            barrier.wait(timeout=120)
            outcomes.append(work(session))

    threads = [threading.Thread(target=one) for _ in range(TOGETHER)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == TOGETHER
    return outcomes


def new_id():
    return f"sha256:{secrets.token_hex(32)}"


def keep(session, callback_id, received_at=NOW):
    return inbox.keep(session, callback_id, channel="slack", payload="{}", now=received_at)


def test_of_replays_at_the_same_instant_one_is_new(engine):
    callback_id = new_id()
    outcomes = all_at_once(engine, lambda session: keep(session, callback_id))
    assert sorted(outcomes) == [False] * (TOGETHER - 1) + [True]


def test_a_callback_is_taken_by_one(engine, run):
    callback_id = new_id()
    run(lambda session: keep(session, callback_id))
    outcomes = all_at_once(engine, lambda session: inbox.take(session, callback_id, now=NOW) is not None)
    assert outcomes.count(True) == 1


def test_a_taken_callback_is_free_again_later_and_later(run):
    callback_id = new_id()
    run(lambda session: keep(session, callback_id))

    def take(minutes):
        return (
            run(lambda session: inbox.take(session, callback_id, now=NOW + timedelta(minutes=minutes)))
            is not None
        )

    assert take(0)
    assert not take(0.9)
    assert [take(minutes) for minutes in range(1, 12)] == [True] * 11
    run(lambda session: inbox.move(session, callback_id, "taken-10", inbox.DONE))
    assert not take(60)


def test_waiting_lists_what_is_free_of_one_channel_oldest_first(run):
    ids = [new_id() for _ in range(4)]
    long_ago = NOW - timedelta(days=400)
    for number, callback_id in enumerate(ids):
        at = long_ago - timedelta(minutes=number)
        run(lambda session, i=callback_id, t=at: keep(session, i, t))
    run(lambda session: inbox.move(session, ids[0], inbox.NEW, inbox.DONE))
    listed = run(lambda session: inbox.waiting(session, channel="slack", now=long_ago, limit=10))
    assert listed[:3] == [ids[3], ids[2], ids[1]]
    assert run(lambda session: inbox.waiting(session, channel="teams", now=NOW, limit=10)) == []


def test_a_due_row_is_claimed_by_one(engine, run):
    row = run(lambda session: outbox.add(session, new_id()[7:39], "request", channel="slack", now=NOW))

    def claim(session):
        return outbox.claim(session, row.id, now=NOW, until=NOW + timedelta(minutes=1)) is not None

    assert all_at_once(engine, claim).count(True) == 1
    kept = run(lambda session: session.get_one(OutboxRow, row.id))
    assert (kept.attempts, kept.due_at) == (1, NOW + timedelta(minutes=1))


def test_a_finished_row_stays_finished(run):
    row = run(lambda session: outbox.add(session, "r-1", "update", channel="slack", now=NOW))
    run(lambda session: outbox.finish(session, [row.id], outbox.SENT))
    run(lambda session: outbox.finish(session, [row.id], outbox.FAILED, error="late"))
    run(lambda session: outbox.postpone(session, [row.id], until=NOW, error="late"))
    kept = run(lambda session: session.get_one(OutboxRow, row.id))
    assert (kept.state, kept.last_error) == (outbox.SENT, None)


def test_a_recorded_delivery_is_neither_released_nor_overwritten(run):
    run(lambda session: outbox.reserve(session, "r-2", channel="slack", recipient="C1", now=NOW))
    run(lambda session: outbox.record(session, "r-2", "C1:1.1", channel="slack", now=NOW))
    run(lambda session: outbox.record(session, "r-2", "C1:2.2", channel="slack", now=NOW))
    run(lambda session: outbox.release(session, "r-2", channel="slack"))
    kept = run(lambda session: outbox.delivery_of(session, "r-2", channel="slack"))
    assert kept is not None
    assert kept.message == "C1:1.1"


def test_a_reservation_can_be_released(run):
    run(lambda session: outbox.reserve(session, "r-3", channel="slack", recipient="C1", now=NOW))
    run(lambda session: outbox.release(session, "r-3", channel="slack"))
    assert run(lambda session: outbox.delivery_of(session, "r-3", channel="slack")) is None
