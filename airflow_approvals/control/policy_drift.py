"""The policy file on disk against the policy in force.

What is in force is in the database, so a file that is broken or was edited changes nothing. That
has to be said, or people go by rules that nobody enforces. A file is read again only when it has
changed; a decision never reads it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from airflow_approvals.config.policy_file import read_policy_file
from airflow_approvals.config.settings import Settings
from airflow_approvals.errors import ApprovalsError, PolicyError
from airflow_approvals.store import policies
from airflow_approvals.store.session import run_read

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Read:
    """What a file was when it was read last: its digest, or what is wrong with it."""

    stamp: tuple[int, int, int] | None
    digest: str = ""
    problem: str = ""


#: What was read last, by path, and what was logged last.
_READ: dict[Path, _Read] = {}
_TOLD: list[str | None] = [None]


def problem() -> str | None:
    """Return how the configured policy file differs from the policy in force, or ``None``.

    :raises ApprovalsError: when the options or the active policy cannot be read.
    """
    path = Settings.load().policy_file
    if path is None:
        return None
    active = run_read(policies.active_digest)
    read = _look(path)
    if active is None or active == read.digest:
        return None  # without an active policy that is what has to be said
    if read.problem:
        return f"{read.problem} The policy in force stays {active}."
    return (
        f"The policy file {path} ({read.digest}) is not the policy in force ({active}): "
        "run `airflow approvals policy activate`, or restore the file."
    )


def tell() -> None:
    """Log what :func:`problem` says, once per change; never raises an error of ours."""
    try:
        found = problem()
    except ApprovalsError as error:
        found = str(error)
    if found != _TOLD[0]:
        _TOLD[0] = found
        if found is None:
            log.info("approvals: the policy file is the policy in force")
        else:
            log.error("approvals: %s", found)


def _look(path: Path) -> _Read:
    stamp, last = _stamp(path), _READ.get(path)
    if last is None or stamp is None or stamp != last.stamp:
        try:
            last = _Read(stamp, digest=read_policy_file(path).digest)
        except PolicyError as error:
            last = _Read(stamp, problem=str(error))
        _READ[path] = last
    return last


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
