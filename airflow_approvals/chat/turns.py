"""One at a time, and nobody waits: who comes while work is under way has it done once more."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock


class Turns:
    """Keeps work of one name from being done twice at once in this process.

    Fifty people who click at once want the same outbox looked through; one who is at it looks
    again for all of them. Work of another name goes on meanwhile.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        #: Name of the work under way -> whether somebody came meanwhile.
        self._under_way: dict[str, bool] = {}

    def take(self, name: str, work: Callable[[], int]) -> int:
        """Do the work, and again for as long as somebody else asked for it meanwhile.

        :returns: the sum of what the work returned; 0 when another thread does it in our stead.
        """
        with self._lock:
            if name in self._under_way:
                self._under_way[name] = True
                return 0
            self._under_way[name] = False
        return self._work(name, work)

    @property
    def is_busy(self) -> bool:
        """Whether any work is under way."""
        with self._lock:
            return bool(self._under_way)

    def _work(self, name: str, work: Callable[[], int]) -> int:
        done = 0
        try:
            while True:
                done += work()
                with self._lock:
                    if not self._under_way[name]:
                        del self._under_way[name]
                        return done
                    self._under_way[name] = False
        except BaseException:
            with self._lock:
                self._under_way.pop(name, None)
            raise
