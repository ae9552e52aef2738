"""The last net: an error nobody foresaw may quote a value, so only its kind gets out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import TypeVar

from airflow_approvals.errors import ApprovalsError, DataError

Result = TypeVar("Result")


def without_values(what: str, work: Callable[[], Result]) -> Result:
    """Do the work; let this package's own errors through and replace every other one.

    :param what: what was being done, for the error.
    :raises DataError: naming the kind of the error and the line it came from, and no more.
    """
    try:
        return work()
    except ApprovalsError:
        raise
    except Exception as error:
        failure = f"{type(error).__name__} at {_origin(error)}"
    raise DataError(f"{what} failed: {failure}.", "Nothing was written. Please report this.")


def _origin(error: BaseException) -> str:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return "an unknown line"
    return f"{PurePath(traceback.tb_frame.f_code.co_filename).name}:{traceback.tb_lineno}"
