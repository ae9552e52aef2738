"""``airflow approvals policy lint | activate``."""

from __future__ import annotations

import getpass
import json
import os
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from airflow_approvals.config.policy_file import read_policy_file
from airflow_approvals.config.settings import Settings
from airflow_approvals.core.policy import Policy
from airflow_approvals.errors import ApprovalsError, ConfigurationError
from airflow_approvals.store import policies
from airflow_approvals.store.session import run_transaction


def lint(args: Namespace) -> None:
    """Check a policy file and say what is in it and what is worth a second look."""
    try:
        policy = read_policy_file(_path(args, Settings.load()))
    except ApprovalsError as error:
        raise SystemExit(f"approvals: {error}") from None
    print(f"policy loads ({_summary(policy)})")
    for remark in _remarks(policy):
        print(f"note: {remark}")


def activate(args: Namespace) -> None:
    """Put a policy file in force and write the projection for DAG parsers."""
    try:
        settings = Settings.load()
        policy = read_policy_file(_path(args, settings))
        _activate(policy, settings.projection_file)
    except ApprovalsError as error:
        raise SystemExit(f"approvals: {error}") from None
    print(f"policy is active ({_summary(policy)})")
    for remark in _remarks(policy):
        print(f"note: {remark}")
    if settings.projection_file is None:
        print("note: [approvals] projection_file is not set, so DAG parsers learn nothing of this policy.")


def _path(args: Namespace, settings: Settings) -> Path:
    if args.path is not None:
        return Path(args.path)
    if settings.policy_file is None:
        raise ConfigurationError(
            "There is no policy file to read.", "Name one, or set [approvals] policy_file."
        )
    return settings.policy_file


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


def _remarks(policy: Policy) -> Iterator[str]:
    if policy.dev_mode:
        yield "dev_mode is on: whatever is decided under this policy is NOT EVIDENCE."
    for sink in sorted(policy.sinks):
        if not any(rule.sink.matches_text(sink) for rule in policy.rules):
            yield f"no rule names sink {sink}, so nothing may go there."
    seated = {seat.group for rule in policy.rules for seat in rule.bar.seats}
    for group in sorted(set(policy.groups) - seated):
        yield f"no rule has a seat for group {group}."
