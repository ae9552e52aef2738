"""Threads of a route's own: what hangs in one kind of work takes none from another, nor from the server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

T = TypeVar("T")


class Threads:
    """At most ``at_once`` threads for one kind of work; more of it waits.

    :param name: unique in this package.
    """

    def __init__(self, name: str, at_once: int) -> None:
        # Of one event loop: tests have several.
        self._limiters: RunVar[CapacityLimiter] = RunVar(f"approvals_{name}")
        self._at_once = at_once

    async def run(
        self,
        work: Callable[..., T],
        *arguments: Any,
        before: Callable[[], Awaitable[None]] | None = None,
        **named: Any,
    ) -> T:
        """Do the work in one of the threads; return what it returned, raise what it raised.

        :param before: awaited once the work's turn has come.
        """
        async with self._limiter():
            if before is not None:
                await before()
            # Nobody else is let in, so the thread needs no limit but the one that is held.
            return await to_thread.run_sync(partial(work, *arguments, **named), limiter=CapacityLimiter(1))

    @property
    def busy(self) -> bool:
        """Whether any of the threads is at work."""
        return bool(self._limiter().borrowed_tokens)

    def _limiter(self) -> CapacityLimiter:
        try:
            return self._limiters.get()
        except LookupError:
            limiter = CapacityLimiter(self._at_once)
            self._limiters.set(limiter)
            return limiter
