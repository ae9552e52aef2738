"""Reading below one folder of this machine's disk, whatever somebody puts there meanwhile.

Whoever may write to the folder could lay a link to any file that the reader may read. So a file
is opened step by step from the folder's own descriptor, and no step follows a link: there is no
moment between a check and its use.

Source: open(2), ``O_NOFOLLOW`` and ``O_DIRECTORY``, https://man7.org/linux/man-pages/man2/open.2.html.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from airflow_approvals.data.places import Place
from airflow_approvals.errors import ForbiddenSourceError

NOT_PLAIN = "The staged data holds a link, or something that is no plain file."
_STEP = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Without O_NONBLOCK a named pipe would hold the reader up.
_LAST = _STEP | os.O_NONBLOCK
_FOLDER = _STEP | os.O_DIRECTORY
#: A link in the way; a file where a folder should be; a socket.
_NOT_PLAIN = frozenset({errno.ELOOP, errno.ENOTDIR, errno.ENXIO})


@dataclass(frozen=True)
class ConfinedPlace(Place):
    """A local file below ``root``, which is a folder without links in its own path."""

    root: Path

    @classmethod
    def below(cls, root: Path, file: Path) -> ConfinedPlace:
        """Return the place of a file; :raises ValueError: when it is not below the root."""
        file.relative_to(root)
        place = Place.of(file.as_posix())
        return cls(place.fs, place.path, place.uri, root)

    @property
    def parent(self) -> ConfinedPlace:
        """The folder it is in."""
        above = super().parent
        return ConfinedPlace(above.fs, above.path, above.uri, self.root)

    def child(self, name: str) -> ConfinedPlace:
        """Return the place of a relative name below this one."""
        below = super().child(name)
        return ConfinedPlace(below.fs, below.path, below.uri, self.root)

    def _open(self, mode: str) -> BinaryIO:
        if mode != "rb":
            raise ForbiddenSourceError("What is staged is only read.")
        return open_plain(self.root, Path(self.path).relative_to(self.root).parts)


def open_plain(root: Path, parts: Sequence[str]) -> BinaryIO:
    """Open a plain file for reading bytes, without following a link below ``root``.

    :param parts: the folders below ``root``, and the name of the file.
    :raises ForbiddenSourceError: when a link is on the way, or it is no plain file.
    :raises OSError: when it cannot be opened.
    """
    descriptor = _descend(root, parts)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ForbiddenSourceError(NOT_PLAIN)
    return os.fdopen(descriptor, "rb")


def _descend(root: Path, parts: Sequence[str]) -> int:
    descriptor = os.open(root, _FOLDER)
    for number, part in enumerate(parts, start=1):
        if part in ("", ".", ".."):
            os.close(descriptor)
            raise ForbiddenSourceError(NOT_PLAIN)
        descriptor = _step(descriptor, part, _LAST if number == len(parts) else _FOLDER)
    return descriptor


def _step(folder: int, part: str, flags: int) -> int:
    try:
        return os.open(part, flags, dir_fd=folder)
    except OSError as error:
        if error.errno not in _NOT_PLAIN:
            raise
    finally:
        os.close(folder)
    # Raised outside the handler: the error names the file.
    raise ForbiddenSourceError(NOT_PLAIN)
