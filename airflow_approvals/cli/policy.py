"""``airflow approvals policy lint | activate``."""

from __future__ import annotations

import getpass
import json
import os
import tempfile
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from airflow_approvals.config.policy_file import read_policy_file
from airflow_approvals.config.settings import Settings
from airflow_approvals.core import explaining
from airflow_approvals.core.policy import Policy
from airflow_approvals.errors import ApprovalsError, ConfigurationError, PolicyError
from airflow_approvals.store import policies
from airflow_approvals.store.session import run_read, run_transaction

#: Exit code of ``lint`` for a policy that loads and has warnings; 2 is argparse's.
WARNINGS = 3


def lint(args: Namespace) -> None:
    """Check a policy file and say what is in it and what is worth a second look.

    Exit codes: 0 it loads and passes its own tests, 1 it does not, 3 it does and has warnings.
    """
    try:
        policy = tested(read_policy_file(policy_path(args.path, Settings.load())))
    except ApprovalsError as error:
        raise SystemExit(f"approvals: {error}{_stays_in_force()}") from None
    print(f"policy loads ({_summary(policy)})")
    warnings = list(explaining.warnings(policy))
    _print_remarks(warnings, policy)
    if (active := _active()) not in (None, policy.digest):
        print(f"note: another policy is in force, {active}; this one is not until it is activated.")
    if warnings:
        raise SystemExit(WARNINGS)


def _stays_in_force() -> str:
    active = _active()
    return "" if active is None else f" The policy in force stays {active}."


def _active() -> str | None:
    """Return the digest in force; ``None`` also where there is no database to ask, as in CI."""
    try:
        return run_read(policies.active_digest)
    except (SQLAlchemyError, ApprovalsError):
        return None


def activate(args: Namespace) -> None:
    """Put a policy file in force and write the projection for DAG parsers."""
    try:
        settings = Settings.load()
        policy = tested(read_policy_file(policy_path(args.path, settings)))
        _activate(policy, settings.projection_file)
    except ApprovalsError as error:
        raise SystemExit(f"approvals: {error}") from None
    print(f"policy is active ({_summary(policy)})")
    _print_remarks(explaining.warnings(policy), policy)
    if settings.projection_file is None:
        print("note: [approvals] projection_file is not set, so DAG parsers learn nothing of this policy.")


def policy_path(path: str | None, settings: Settings) -> Path:
    """Return the file that a command is about: the one it names, or the configured one.

    :raises ConfigurationError: when there is neither.
    """
    if path is not None:
        return Path(path)
    if settings.policy_file is None:
        raise ConfigurationError(
            "There is no policy file to read.", "Name one, or set [approvals] policy_file."
        )
    return settings.policy_file


def tested(policy: Policy) -> Policy:
    """Return a policy that meets the tests in its own file; :raises PolicyError: otherwise."""
    if failures := list(policy.failures()):
        raise PolicyError(f"The policy fails its own tests. {' '.join(failures)}")
    return policy


def _activate(policy: Policy, projection: Path | None) -> None:
    if projection is None:
        _store(policy)
        return
    # Written before and moved after the commit: a folder that is missing or full stops the
    # activation, and a failed activation leaves the old projection.
    with _written(projection, json.dumps(policy.projection(), indent=2, sort_keys=True)) as finished:
        _store(policy)
        _move(finished, projection)


def _move(finished: Path, projection: Path) -> None:
    try:
        finished.replace(projection)
    except OSError as error:
        raise ConfigurationError(
            f"The policy is active, but the projection {projection} cannot be replaced: {error.strerror}.",
            "Activate again when it can be; until then DAG parsers go by the old one.",
        ) from error


def _store(policy: Policy) -> None:
    actor = f"cli:{_user()}"
    now = datetime.now(UTC)
    run_transaction(lambda session: policies.store_and_activate(session, policy, actor=actor, now=now))


def _user() -> str:
    try:
        return getpass.getuser()[:200]
    except (KeyError, OSError):
        return str(os.getuid())  # a container's user need not have a name


@contextmanager
def _written(path: Path, text: str) -> Iterator[Path]:
    """Write a file beside ``path`` that every user may read; it is gone afterwards unless moved."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigurationError(
            f"The projection {path} cannot be written: {error.strerror}.", "Nothing was activated."
        ) from error
    beside = Path(name)
    try:
        yield beside
    finally:
        beside.unlink(missing_ok=True)


def _summary(policy: Policy) -> str:
    return f"{len(policy.sinks)} sinks, {len(policy.rules)} rules, {policy.digest}"


def _print_remarks(warnings: Iterable[str], policy: Policy) -> None:
    for warning in warnings:
        print(f"warning: {warning}")
    for note in explaining.notes(policy):
        print(f"note: {note}")
