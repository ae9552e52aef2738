"""Work that many ask for at once is done by one of them, for all."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread

import pytest

from airflow_approvals.chat.turns import Turns

WAIT = 10


class Held:
    """Work that waits until it is let go, and counts how often it was done."""

    def __init__(self) -> None:
        self.begun, self.go = Event(), Event()
        self.done = 0

    def __call__(self) -> int:
        self.begun.set()
        assert self.go.wait(WAIT)
        self.done += 1
        return 1


def in_a_thread(work: Callable[[], object]) -> Thread:
    thread = Thread(target=work)
    thread.start()
    return thread


def test_who_comes_while_it_is_done_has_it_done_once_more() -> None:
    turns, held = Turns(), Held()
    counted: list[int] = []
    first = in_a_thread(lambda: counted.append(turns.take("slack", held)))
    assert held.begun.wait(WAIT)
    assert [turns.take("slack", held) for _ in range(50)] == [0] * 50
    held.go.set()
    first.join(WAIT)
    assert (held.done, counted) == (2, [2])


def test_work_of_another_name_does_not_wait() -> None:
    turns, held = Turns(), Held()
    first = in_a_thread(lambda: turns.take("teams", held))
    assert held.begun.wait(WAIT)
    assert turns.take("slack", lambda: 3) == 3
    held.go.set()
    first.join(WAIT)


def test_work_that_fails_bars_nobody() -> None:
    turns = Turns()

    def fails() -> int:
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        turns.take("slack", fails)
    assert turns.take("slack", lambda: 1) == 1
