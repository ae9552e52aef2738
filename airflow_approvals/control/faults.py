"""How faults of the control plane reach the server's log."""

from __future__ import annotations

import logging

from sqlalchemy.exc import DBAPIError

log = logging.getLogger(__name__)


def report(what: str, error: BaseException) -> None:
    """Log that something could not be done, and why.

    A database error's own text repeats the statement with its parameters, which may be people's
    words; of those only the kind is logged.
    """
    if isinstance(error, DBAPIError):
        log.error("approvals: could not %s: %s", what, type(error.orig).__name__)
    else:
        log.error("approvals: could not %s", what, exc_info=error)
