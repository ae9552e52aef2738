"""Places: a file or folder on any file system that Airflow can open.

Local paths and ``file://`` URIs need no Airflow; everything else goes through
``ObjectStoragePath`` and its Connections.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

from airflow_approvals.errors import ApprovalsError, DataError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem  # type: ignore[import-untyped]

MANIFEST_NAME = "_manifest.json"
EVIDENCE_NAME = "_evidence.json"
RECEIPT_NAME = "_receipt.json"
INCOMPLETE_NAME = "_incomplete"
#: Names of our own documents; never data.
RESERVED_NAMES = frozenset({MANIFEST_NAME, EVIDENCE_NAME, RECEIPT_NAME, INCOMPLETE_NAME})
PARTIAL_SUFFIX = ".partial"

Result = TypeVar("Result")

_MAGIC = re.compile(r"[*?\[]")
_CREDENTIALS = re.compile(r"//[^/@:]*:[^/@]*@")


@dataclass(frozen=True)
class Place:
    """A file or folder: the file system, the path on it, and the URI that leads back to it."""

    fs: AbstractFileSystem
    path: str
    uri: str

    @classmethod
    def of(cls, uri: str, conn_id: str | None = None) -> Place:
        """Return the place at a local path or a URI.

        :param conn_id: the Connection to open it with, unless it is local.
        :raises DataError: when no file system is known for it.
        """
        if not uri.strip():
            raise DataError("A path is empty.")
        if uri.startswith("file://") or "://" not in uri:
            return cls._local(uri.removeprefix("file://"))
        return cls._remote(uri, conn_id)

    @classmethod
    def _local(cls, text: str) -> Place:
        from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

        path = Path(text).expanduser().absolute().as_posix()
        return cls(LocalFileSystem(), path, f"file://{path}")

    @classmethod
    def _remote(cls, uri: str, conn_id: str | None) -> Place:
        from airflow.sdk import ObjectStoragePath

        scheme, rest = uri.rstrip("/").split("://", 1)
        if conn_id and "@" not in rest.split("/", 1)[0]:
            rest = f"{conn_id}@{rest}"
        uri = f"{scheme}://{rest}"

        def opened() -> Place:
            path = ObjectStoragePath(uri)
            return cls(path.fs, str(path.fs._strip_protocol(path.path)), uri)

        return attempt(_CREDENTIALS.sub("//", uri), "opened", opened)

    @property
    def shown(self) -> str:
        """The URI, without a password that somebody wrote into it."""
        return _CREDENTIALS.sub("//", self.uri)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rstrip("/").rsplit("/", 1)[-1]

    @property
    def parent(self) -> Place:
        """The folder it is in."""
        return Place(self.fs, _dirname(self.path), _dirname(self.uri))

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine's disk, where a folder is renamed in one step."""
        from fsspec.implementations.local import LocalFileSystem

        return isinstance(self.fs, LocalFileSystem)

    def child(self, name: str) -> Place:
        """Return the place of a relative name below this one."""
        return Place(self.fs, f"{self.path.rstrip('/')}/{name}", f"{self.uri.rstrip('/')}/{name}")

    def sibling(self, suffix: str) -> Place:
        """Return the place beside this one whose name has the suffix added."""
        return Place(self.fs, self.path.rstrip("/") + suffix, self.uri.rstrip("/") + suffix)

    def overlaps(self, other: Place) -> bool:
        """Whether one of the two is the other, or lies inside it; links on a local disk followed."""
        ours, theirs = self._resolved(), other._resolved()
        return ours.startswith(theirs) or theirs.startswith(ours)

    def _resolved(self) -> str:
        uri = f"file://{os.path.realpath(self.path)}" if self.is_local else self.uri
        return f"{uri.rstrip('/')}/"

    def exists(self) -> bool:
        """Whether anything is there."""
        return attempt(self.shown, "looked up", lambda: bool(self.fs.exists(self.path)))

    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return attempt(self.shown, "looked up", lambda: bool(self.fs.isdir(self.path)))

    def size(self) -> int:
        """Return the size of the file in bytes."""
        return attempt(self.shown, "looked up", lambda: int(self.fs.size(self.path)))

    def files(self) -> list[str]:
        """Return the relative names of all files below, sorted; our own documents left out."""
        return [name for name in self.all_files() if name.rsplit("/", 1)[-1] not in RESERVED_NAMES]

    def all_files(self) -> list[str]:
        """Return the relative names of all files below, sorted."""
        found = attempt(self.shown, "listed", lambda: list(self.fs.find(self.path)))
        prefix = self.path.strip("/") + "/"
        return sorted(str(path).strip("/").removeprefix(prefix) for path in found)

    def glob(self) -> list[str]:
        """Return the paths of the files that this place's path, as a pattern, matches; sorted."""
        return attempt(
            self.shown,
            "listed",
            lambda: sorted(str(path) for path in self.fs.glob(self.path) if not self.fs.isdir(path)),
        )

    @property
    def is_pattern(self) -> bool:
        """Whether the path holds ``*``, ``?`` or ``[``."""
        return _MAGIC.search(self.path) is not None

    def literal_base(self) -> Place:
        """Return the deepest folder above the first wildcard."""
        place = self
        while place.is_pattern:
            place = place.parent
        return place

    @contextmanager
    def reading(self, shown: str | None = None) -> Iterator[BinaryIO]:
        """Open for reading bytes, once.

        :param shown: how to name it in an error.
        :raises DataError: when it cannot be opened.
        """
        stream = attempt(shown or self.shown, "read", lambda: self._open("rb"))
        try:
            yield stream
        finally:
            stream.close()

    @contextmanager
    def writing(self, shown: str | None = None) -> Iterator[BinaryIO]:
        """Open for writing bytes, folders made as needed.

        :raises DataError: when it cannot be opened or written.
        """
        name = shown or self.shown
        attempt(name, "written", lambda: self.fs.makedirs(_dirname(self.path), exist_ok=True))
        stream = attempt(name, "written", lambda: self._open("wb"))
        try:
            yield stream
        except BaseException:
            _close_quietly(stream)
            raise
        attempt(name, "written", stream.close)

    def _open(self, mode: str) -> BinaryIO:
        with _silent_local_files():
            return cast("BinaryIO", self.fs.open(self.path, mode))

    def read_bytes(self, limit: int) -> bytes:
        """Return the bytes; :raises DataError: when there are more than ``limit`` or none."""
        with self.reading() as stream:
            data = attempt(self.shown, "read", lambda: stream.read(limit + 1))
        if len(data) > limit:
            raise DataError(f"{self.shown} is larger than {limit // 1024**2} MiB.")
        return data

    def write_bytes(self, data: bytes) -> None:
        """Write the bytes as a whole."""
        with self.writing() as stream:
            attempt(self.shown, "written", lambda: stream.write(data))

    def remove(self) -> None:
        """Remove the file or folder, if it is there."""
        if self.exists():
            attempt(self.shown, "removed", lambda: self.fs.rm(self.path, recursive=True))


def attempt(shown: str, doing: str, work: Callable[[], Result]) -> Result:
    """Do the work, and turn whatever a file system raises into one clear error.

    The error is raised outside the handler: some file systems quote content or credentials,
    and a chained error would carry that on.

    :param shown: what it is done to, for the error.
    :param doing: what is done, as a participle (``read``).
    :raises DataError: when it cannot be done.
    """
    try:
        return work()
    except ApprovalsError:
        raise
    except FileNotFoundError:
        failure = f"{shown} does not exist."
    except OSError as error:
        failure = f"{shown} cannot be {doing}: {error.strerror or type(error).__name__}."
    except Exception as error:
        failure = f"{shown} cannot be {doing} ({type(error).__name__})."
    raise DataError(failure, "Check the path, the Connection and its permissions.")


@contextmanager
def _silent_local_files() -> Iterator[None]:
    """Keep fsspec from logging, at level DEBUG, the name of each file: names can be sensitive."""
    logger = logging.getLogger("fsspec.local")
    logger.addFilter(_say_nothing)
    try:
        yield
    finally:
        logger.removeFilter(_say_nothing)


def _say_nothing(_: logging.LogRecord) -> bool:
    return False


def _close_quietly(stream: BinaryIO) -> None:
    # The fault that is under way says more than the one of closing a half-written file.
    with suppress(Exception):
        stream.close()


def _dirname(path: str) -> str:
    head, _, _ = path.rstrip("/").rpartition("/")
    return head or "/"
