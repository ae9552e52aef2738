"""Staging: a folder that becomes visible as a whole or not at all.

1. Everything is written into ``<target>.partial``, our mark ``_incomplete`` first; the document
   that makes the target count as finished (manifest or receipt) is written last.
2. On a local disk the folder is then renamed, in one step. Object stores have no such step:
   objects are copied under the same mark, the finishing document last.
3. A killed attempt leaves only what carries the mark; the next one removes it. The name of a
   folder proves nothing: what does not hold the mark's content is somebody else's, and stays.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from airflow_approvals.data.places import INCOMPLETE_NAME, PARTIAL_SUFFIX, Place, attempt
from airflow_approvals.errors import ApprovalsError, DataError

#: What the mark holds; long enough that nobody else's file holds it by chance.
MARK = b"airflow-approvals staging 6f1d2a7c: unfinished, the next attempt removes this folder\n"


class Staging:
    """A context in which a folder is prepared; left without :meth:`publish`, nothing remains.

    :param target: the folder to become visible.
    :param sources: what is read meanwhile; preparing never touches it.
    :param token: sets attempts apart that may overlap in time, each with a folder of its own.
    :raises DataError: on entering, when the target exists or cannot be written, or its
        ``.partial`` is somebody else's or overlaps a source.
    """

    def __init__(self, target: Place, sources: Sequence[Place] = (), *, token: str = "") -> None:
        self.target = target
        self.partial = target.sibling(f".{token}{PARTIAL_SUFFIX}" if token else PARTIAL_SUFFIX)
        self._sources = tuple(sources)
        self._kept = False

    def __enter__(self) -> Self:
        self._refuse_overlap()
        if not self.target.is_local and _is_ours(self.target):
            _discard(self.target)
        if self.target.exists():
            raise DataError(
                f"The target {self.target.shown} exists already.",
                "Choose another one (the run id in its name helps), or remove it.",
            )
        self._remove_stale()
        # Made at once, so that a target that cannot be written is found before any work is done.
        fs, path = self.partial.fs, self.partial.path
        attempt(self.target.shown, "written", lambda: fs.makedirs(path, exist_ok=True))
        self.partial.child(INCOMPLETE_NAME).write_bytes(MARK)
        return self

    def __exit__(self, *_: object) -> None:
        if not self._kept:
            with suppress(ApprovalsError):
                self.discard()

    def keep(self) -> None:
        """Leave what is prepared where it is when the context ends; somebody will publish or discard it."""
        self._kept = True

    def discard(self) -> None:
        """Remove what is prepared, if anything is; :raises DataError: when it cannot be removed."""
        if _is_ours(self.partial):
            _discard(self.partial)

    def undo(self) -> None:
        """Remove what is prepared, and of the target what carries the mark: it never counted as finished."""
        self.discard()
        if not self.target.is_local and _is_ours(self.target):
            _discard(self.target)

    def tidy(self) -> None:
        """Remove the mark from a finished target, which a kill may have left there, and the rest."""
        if _is_ours(self.target):
            self.target.child(INCOMPLETE_NAME).remove()
        self.discard()

    def publish(self, last: str) -> None:
        """Make the folder visible.

        :param last: the relative name of the document that makes it count as finished.
        """
        if self.target.is_local:
            self._rename()
        else:
            self._copy(last)

    def _rename(self) -> None:
        try:
            os.rename(self.partial.path, self.target.path)  # noqa: PTH104  both are plain strings
        except OSError as error:
            raise DataError(
                f"The target {self.target.shown} cannot be made visible: {error.strerror}.",
                "Something may have been created there meanwhile; remove it and try again.",
            ) from None
        # Only now: a kill in between leaves a finished folder with one file too many, which is
        # no data, instead of a partial one that nobody would know for ours.
        self.target.child(INCOMPLETE_NAME).remove()

    def _copy(self, last: str) -> None:
        mark = self.target.child(INCOMPLETE_NAME)
        mark.write_bytes(MARK)
        names = [name for name in self.partial.all_files() if name not in (last, INCOMPLETE_NAME)]
        for name in [*names, last]:
            self._copy_one(self.partial.child(name), self.target.child(name))
        mark.remove()

    def _copy_one(self, source: Place, target: Place) -> None:
        fs = target.fs
        attempt(target.shown, "made visible", lambda: fs.makedirs(target.parent.path, exist_ok=True))
        attempt(target.shown, "made visible", lambda: fs.cp_file(source.path, target.path))

    def _refuse_overlap(self) -> None:
        for source in self._sources:
            if self.partial.overlaps(source):
                raise DataError(
                    f"The target {self.target.shown} would be prepared in {self.partial.shown}, "
                    "which overlaps the source.",
                    "Choose another target.",
                )

    def _remove_stale(self) -> None:
        if not self.partial.exists() or _is_empty(self.partial):
            return
        if not _is_ours(self.partial):
            raise DataError(
                f"The folder {self.partial.shown} is in the way: it was not left by an earlier attempt.",
                "Choose another target, or move the folder away.",
            )
        _discard(self.partial)


def _discard(folder: Place) -> None:
    """Remove a folder of ours; its mark last, so that a kill in between leaves it ours."""
    paths = [folder.child(name).path for name in folder.all_files() if name != INCOMPLETE_NAME]
    if paths:
        attempt(folder.shown, "removed", lambda: folder.fs.rm(paths))
    folder.remove()


def _is_ours(folder: Place) -> bool:
    """Whether a folder holds our mark, as we write it."""
    mark = folder.child(INCOMPLETE_NAME)
    if not mark.exists() or mark.is_folder():
        return False
    with mark.reading() as stream:
        return attempt(mark.shown, "read", lambda: stream.read(len(MARK) + 1)) == MARK


def _is_empty(folder: Place) -> bool:
    """Whether nothing is in a folder, but for a mark that was cut off while it was written."""
    fs, path = folder.fs, folder.path
    if not folder.is_folder():
        return False
    entries = attempt(folder.shown, "listed", lambda: list(fs.ls(path, detail=False)))
    mark = folder.child(INCOMPLETE_NAME)
    if not entries:
        return True
    return len(entries) == 1 and not mark.is_folder() and mark.exists() and mark.size() == 0
