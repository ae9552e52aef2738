"""Staging: a folder that becomes visible as a whole or not at all.

1. Everything is written into ``<target>.partial``; the document that makes the target count as
   finished (manifest or receipt) is written last.
2. On a local disk the folder is then renamed, in one step. Object stores have no such step:
   objects are copied under the mark ``_incomplete``, the finishing document last.
3. A killed attempt leaves only what carries one of these two names; the next one removes it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Self

from airflow_approvals.data.places import INCOMPLETE_NAME, PARTIAL_SUFFIX, Place, attempt
from airflow_approvals.errors import ApprovalsError, DataError


class Staging:
    """A context in which a folder is prepared; left without :meth:`publish`, nothing remains.

    :param target: the folder to become visible.
    :raises DataError: on entering, when the target exists or cannot be written.
    """

    def __init__(self, target: Place) -> None:
        self.target = target
        self.partial = target.sibling(PARTIAL_SUFFIX)

    def __enter__(self) -> Self:
        self._remove_stale()
        if self.target.exists():
            raise DataError(
                f"The target {self.target.shown} exists already.",
                "Choose another one (the run id in its name helps), or remove it.",
            )
        # Made at once, so that a target that cannot be written is found before any work is done.
        fs, path = self.partial.fs, self.partial.path
        attempt(self.target.shown, "written", lambda: fs.makedirs(path, exist_ok=True))
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ApprovalsError):
            self.partial.remove()

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

    def _copy(self, last: str) -> None:
        mark = self.target.child(INCOMPLETE_NAME)
        mark.write_bytes(b"incomplete")
        names = [name for name in self.partial.all_files() if name != last]
        for name in [*names, last]:
            self._copy_one(self.partial.child(name), self.target.child(name))
        mark.remove()

    def _copy_one(self, source: Place, target: Place) -> None:
        fs = target.fs
        attempt(target.shown, "made visible", lambda: fs.makedirs(target.parent.path, exist_ok=True))
        attempt(target.shown, "made visible", lambda: fs.cp_file(source.path, target.path))

    def _remove_stale(self) -> None:
        if self.target.child(INCOMPLETE_NAME).exists():
            self.target.remove()
        self.partial.remove()
