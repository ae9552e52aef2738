"""Of two processes one holds the lease, and another takes over when it lets go or dies."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from airflow_approvals.control import lease
from airflow_approvals.store.session import run_transaction
from airflow_approvals.store.tables import LeaseRow
from tests.conftest import Database

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def acquire(holder: str, now: datetime = NOW, name: str = "loop") -> bool:
    return run_transaction(lambda s: lease.acquire(s, name, holder, now=now))


def release(holder: str, now: datetime = NOW) -> None:
    run_transaction(lambda s: lease.release(s, "loop", holder, now=now))


def held(database: Database) -> LeaseRow:
    with database.session() as session:
        return session.get_one(LeaseRow, "loop")


def test_one_holds_it_and_renews_it_while_the_other_waits(database: Database) -> None:
    assert acquire("a")
    assert not acquire("b")
    later = NOW + timedelta(seconds=15)
    assert acquire("a", later)
    assert held(database).expires_at == later + lease.DURATION
    assert not acquire("b", NOW + lease.DURATION + timedelta(seconds=1))


def test_a_dead_holder_is_replaced_once_its_time_is_up(database: Database) -> None:
    assert acquire("a")
    assert not acquire("b", NOW + lease.DURATION)
    over = NOW + lease.DURATION + timedelta(microseconds=1)
    assert acquire("b", over)
    assert not acquire("a", over)
    assert held(database).holder == "b"


def test_who_lets_go_hands_over_at_once(database: Database) -> None:
    assert acquire("a")
    release("a")
    assert acquire("b", NOW + timedelta(milliseconds=1))


def test_nobody_lets_go_of_anothers_lease(database: Database) -> None:
    assert acquire("a")
    release("b")
    assert not acquire("b", NOW + timedelta(seconds=1))
    assert held(database).holder == "a"


def test_leases_of_different_names_are_apart(database: Database) -> None:
    assert acquire("a")
    assert acquire("b", name="other")


def test_of_many_first_takers_at_once_exactly_one_wins(database: Database) -> None:
    assert _winners(acquire) == 1


def test_of_many_who_find_it_expired_exactly_one_wins(database: Database) -> None:
    acquire("dead")
    over = NOW + timedelta(hours=1)
    assert _winners(lambda holder: acquire(holder, over)) == 1


def _winners(take: Callable[[str], bool], takers: int = 4) -> int:
    barrier, won = threading.Barrier(takers), []

    def one(holder: str) -> None:
        barrier.wait()
        won.append(take(holder))

    threads = [threading.Thread(target=one, args=(f"h{n}",)) for n in range(takers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == takers
    return sum(won)


def test_holders_are_never_mistaken_for_each_other() -> None:
    assert lease.new_holder() != lease.new_holder()
    assert len(lease.new_holder()) <= 250
