"""Addresses that are secrets stay out of the log of the HTTP client.

``httpx`` logs the address of every call at INFO. That of a webhook is a secret: whoever knows it can
post. Its other calls, of this package and of anything else in the process, are logged as ever.

Source: https://www.python-httpx.org/logging/.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: What logs of a call: an address, or what of it goes over the wire.
_LOGGERS = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
)
_at_work: ContextVar[bool] = ContextVar("approvals_secret_address", default=False)


class _Withheld(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not _at_work.get()


_WITHHELD = _Withheld()


@contextmanager
def unlogged() -> Iterator[None]:
    """Let the HTTP client log nothing of the calls that this thread makes meanwhile."""
    for name in _LOGGERS:
        # Each time, and without effect when it is there: a new logging configuration may have dropped it.
        logging.getLogger(name).addFilter(_WITHHELD)
    token = _at_work.set(True)
    try:
        yield
    finally:
        _at_work.reset(token)
