"""Where the custodian may read: below the folders its own operator named, and nowhere else.

Where the staged data lies is the task's word, and it is read with the custodian's rights and
credentials. Without this list an author of a DAG could have it read, and with an approval
publish, its own secrets or the data of others.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from airflow_approvals.config.settings import Settings
from airflow_approvals.data.confined import ConfinedPlace
from airflow_approvals.data.places import Place
from airflow_approvals.errors import ConfigurationError, ForbiddenSourceError

OPTION = "custodian_sources"
OUTSIDE = "The staged data lies where the custodian may not read."
_FILE = "file://"
#: Scheme, authority (with the connection id before an ``@``, never a password), and a path.
_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://[^/@:\s]*(@[^/@:\s]+)?(:[0-9]+)?(/.*)?")
#: What a file system may resolve to another place than the prefix says: steps up, chained URIs,
#: queries, backslashes and encoded characters.
_LEADS_ELSEWHERE = re.compile(r"(?:^|/)\.{1,2}(?:/|$)|//|::|[\\?#%\x00-\x1f]")


@dataclass(frozen=True)
class Sources:
    """The folders, each without a slash at its end; local ones as absolute paths."""

    folders: tuple[Path, ...]
    prefixes: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings) -> Sources:
        """Return where the settings allow reading.

        :raises ConfigurationError: when they name nothing, or a prefix has no valid form.
        """
        named = settings.custodian_sources
        if not named:
            raise ConfigurationError(
                f"[approvals] {OPTION} is not set, so the custodian may read nothing.",
                "Name the folders of the staged data there, for example /srv/approvals/masked.",
            )
        local = [text for text in named if _is_local(text)]
        return cls(tuple(map(_folder, local)), tuple(_prefix(text) for text in named if not _is_local(text)))

    def open(self, uri: str) -> Place:
        """Return the place of a manifest; what is read through it stays below what was named.

        :param uri: where the manifest lies, as the task says.
        :raises ForbiddenSourceError: when that is elsewhere; the sentence does not quote it.
        """
        if _is_local(uri):
            return self._local(uri.removeprefix(_FILE))
        if _LEADS_ELSEWHERE.search(uri.partition("://")[2]):
            raise ForbiddenSourceError(OUTSIDE)
        if not any(uri.startswith(f"{prefix}/") for prefix in self.prefixes):
            raise ForbiddenSourceError(OUTSIDE)
        return Place.of(uri)

    def _local(self, path: str) -> ConfinedPlace:
        if not path.startswith("/") or "\0" in path:
            raise ForbiddenSourceError(OUTSIDE)
        file = Path(path)
        # The folder's links are resolved once, here; none is followed when it is read.
        file = Path(os.path.realpath(file.parent)) / file.name
        for folder in self.folders:
            root = Path(os.path.realpath(folder))
            if file.is_relative_to(root) and file != root:
                return ConfinedPlace.below(root, file)
        raise ForbiddenSourceError(OUTSIDE)


def _is_local(uri: str) -> bool:
    return uri.startswith(_FILE) or "://" not in uri


def _folder(text: str) -> Path:
    folder = Path(text.removeprefix(_FILE))
    if not folder.is_absolute() or folder == Path("/") or ".." in folder.parts:
        raise _no_valid_form()
    return folder


def _prefix(text: str) -> str:
    prefix = text.rstrip("/")
    rest = prefix.partition("://")[2]
    if not rest or not _REMOTE.fullmatch(prefix) or _LEADS_ELSEWHERE.search(rest):
        raise _no_valid_form()
    return prefix


def _no_valid_form() -> ConfigurationError:
    return ConfigurationError(
        f"[approvals] {OPTION}: a prefix has no valid form.",
        "It is an absolute path, or scheme://conn_id@authority/path, without '..', a wildcard or a password.",
    )
