"""Files of the control plane: who can read the keys, and who can write the policy."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from airflow_approvals.doctor.findings import Finding, Severity, Surroundings


def secrets_readable_by_others(around: Surroundings) -> Iterator[Finding]:
    """Key and token files have to be their owner's alone."""
    for option, path in around.settings.secret_files.items():
        mode = _mode(path)
        if mode is not None and mode & 0o077:
            yield Finding(
                "secret_readable_by_others",
                Severity.CRITICAL,
                f"The file of [approvals] {option} has mode {mode & 0o777:04o}.",
                "Whoever reads it can sign in the control plane's name.",
                "Run `chmod 600` on it, and replace the secret: it may have been read.",
            )


def policy_writable_by_others(around: Surroundings) -> Iterator[Finding]:
    """Whoever writes the policy file decides what the next activation allows."""
    for option in ("policy_file", "projection_file"):
        path: Path | None = getattr(around.settings, option)
        if path is None:
            continue
        if around.worker:
            if any(os.access(place, os.W_OK) for place in (path, path.parent)):
                yield _writable(option, "the user that tasks run as")
        elif who := _writers(path):
            yield _writable(option, who)
        elif bundle := _bundle_around(path):
            yield _writable(option, f"the authors of DAG bundle {bundle}")


def _writable(option: str, who: str) -> Finding:
    return Finding(
        "policy_writable",
        Severity.CRITICAL,
        f"The file of [approvals] {option} can be changed by {who}.",
        "The policy has to come from people who do not write the DAGs it judges.",
        "Move it to a folder that only the control plane's user may write, with mode 644 or less.",
    )


def _writers(path: Path) -> str:
    for place in (path, path.parent):
        mode = _mode(place)
        # In a sticky folder nobody replaces what is not theirs.
        if mode is not None and mode & 0o022 and not mode & stat.S_ISVTX:
            return "others than its owner" if place == path else "others, who may write its folder"
    owner, tasks = _owner(path), _task_user()
    return "the user that tasks run as" if owner is not None and owner == tasks else ""


def _task_user() -> int | None:
    """Return the uid that tasks are made to run as, ``None`` when they are not."""
    import pwd

    from airflow.configuration import conf

    name = conf.get("core", "default_impersonation", fallback="")
    try:
        return pwd.getpwnam(name).pw_uid if name else None
    except KeyError:
        return None


def _bundle_around(path: Path) -> str | None:
    for name, folder in _bundle_folders():
        if path.resolve().is_relative_to(folder.resolve()):
            return name
    return None


def _bundle_folders() -> Iterator[tuple[str, Path]]:
    """Yield the folders that DAGs are read from, with the bundle's name."""
    from airflow.configuration import conf

    yield "dags-folder", Path(conf.get("core", "dags_folder"))
    bundles = conf.getjson("dag_processor", "dag_bundle_config_list", fallback=[])
    for bundle in bundles if isinstance(bundles, list) else ():
        if isinstance(bundle, dict) and (folder := (bundle.get("kwargs") or {}).get("path")):
            yield str(bundle.get("name")), Path(folder)


def _mode(path: Path) -> int | None:
    status = _status(path)
    return status.st_mode if status else None


def _owner(path: Path) -> int | None:
    status = _status(path)
    return status.st_uid if status else None


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


CHECKS = (secrets_readable_by_others, policy_writable_by_others)
