"""What a search costs, in processor time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable


def grows_no_faster_than_the_text(search: Callable[[str], Iterable[object]], unit: str) -> bool:
    """Whether eight times the text costs about eight times as much; quadratic, it would take minutes."""

    def seconds(count: int) -> float:
        started = time.process_time()
        for _ in search(unit * count):
            pass
        return time.process_time() - started

    small, large = (min(seconds(count) for _ in range(3)) for count in (5_000, 40_000))
    return large < 2 or large / small < 30
