"""File systems with bad habits, for fsspec and Airflow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from airflow.sdk.io import attach
from airflow.sdk.io.store import _STORE_CACHE
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import register_implementation


class FreshMemory(MemoryFileSystem):
    """An object store in memory, empty for each test."""

    protocol = "fresh"
    cachable = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.store: dict[str, Any] = {}
        self.pseudo_dirs = [""]

    @classmethod
    def _strip_protocol(cls, path: str) -> Any:
        return super()._strip_protocol(str(path).replace(f"{cls.protocol}://", "memory://"))


class SecondOpenLies(FreshMemory):
    """Gives other bytes of the same length from the second time on that a file is opened."""

    protocol = "liar"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.opened: Counter[str] = Counter()

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        stream = super()._open(path, mode=mode, **kwargs)
        if mode != "rb":
            return stream
        self.opened[path] += 1
        if self.opened[path] > 1 and not path.endswith(".json"):
            size = stream.getbuffer().nbytes
            stream = super()._open(f"{path}.{uuid4().hex}.lie", mode="wb")
            stream.write(b"!" * size)
            stream.seek(0)
        return stream


class RecordsWrites(FreshMemory):
    """Remembers every chunk that ever reached it, also of files that are gone."""

    protocol = "recording"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.written: list[tuple[str, bytes]] = []

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        stream = super()._open(path, mode=mode, **kwargs)
        if mode != "rb":
            write = stream.write

            def recorded(data: bytes) -> int:
                self.written.append((path, bytes(data)))
                return int(write(data))

            stream.write = recorded
        return stream


class FailsAfter(FreshMemory):
    """Reads fail, quoting what was read, once so many bytes have been read."""

    protocol = "failing"
    limit = 10

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        stream = super()._open(path, mode=mode, **kwargs)
        if mode == "rb" and path.endswith(".csv"):
            data = stream.getvalue()

            def read(size: int = -1) -> bytes:
                raise ValueError(f"broken after {data[: self.limit]!r}")

            stream.read = read
        return stream


@contextmanager
def attached(kind: type[FreshMemory]) -> Iterator[FreshMemory]:
    """Make ``<protocol>://`` URIs lead to a new file system of that kind."""
    register_implementation(kind.protocol, kind, clobber=True)
    fs = kind()
    attach(kind.protocol, fs=fs)
    try:
        yield fs
    finally:
        _STORE_CACHE.pop(kind.protocol, None)
