"""Who wrote the commits of a git repository on this machine, read with the ``git`` command.

The commits are read as they are stored, so no encoding, mail map, signature program or trailer
setting of the repository has a say in who wrote them, and no hook runs. Replacements, grafts, the
commit graph and fetching are switched off, and the command has a time limit. What remains is
trusted: who may write the repository's files may write another history, and the author of a
commit is what its maker wrote there. Only a host that checks signatures can vouch for it.

Source: https://git-scm.com/docs/git-cat-file (BATCH OUTPUT);
https://git-scm.com/docs/gitformat-commit-graph (an unchecked copy of parents).
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MOST_COMMITS = 1000
#: Of all commits that are read, texts included.
MOST_BYTES = 16_000_000
TIMEOUT_SECONDS = 10
#: Stands for whoever wrote a commit without an e-mail address.
NO_ADDRESS = "(no address)"

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_MAIL = re.compile(r"<([^<>]*)>")
#: Wherever in the text it stands, and over folded lines: git's own trailers leave some out.
_CO_AUTHORS = re.compile(r"^[ \t]*co-authored-by[ \t]*:(.*(?:\n[ \t].*)*)", re.IGNORECASE | re.MULTILINE)
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_GRAFT_FILE": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
}
_SETTINGS = ("-c", "core.commitGraph=false", "-c", "core.useReplaceRefs=false")
#: Files by which a repository tells another history than its commits do.
_OTHER_HISTORY = ("shallow", "info/grafts")


@dataclass(frozen=True)
class Authors:
    """E-mail addresses in lower case: of who wrote, and of who only committed others' work.

    ``cut`` says that there are more commits than were read.
    """

    wrote: frozenset[str]
    committed: frozenset[str]
    cut: bool


def authors(repository: Path, version: str, since: str | None) -> Authors | None:
    """Return who wrote the commits up to ``version`` that ``since`` does not have yet.

    :param version: a commit's hash; :param since: another, or ``None`` for the whole history.
    :returns: ``None`` when the history cannot be read. A ``since`` that the repository does not
        know (any more) counts as none.
    """
    if not (repository / "HEAD").is_file() or not _COMMIT.fullmatch(version):
        return None
    if any((repository / name).exists() for name in _OTHER_HISTORY):
        return None
    try:
        return _read(repository, version, since)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _read(repository: Path, version: str, since: str | None) -> Authors:
    """:raises ValueError: when something is not what git writes; the others when git fails."""
    hashes = _hashes(repository, version, since)
    wrote: set[str] = set()
    committed: set[str] = set()
    for commit in _commits(repository, hashes[:MOST_COMMITS]):
        head, _, text = commit.partition("\n\n")
        co_authors = (mail for line in _CO_AUTHORS.findall(text) for mail in _MAIL.findall(line))
        wrote |= {*_people(head, "author"), *(mail.strip().lower() for mail in co_authors if mail.strip())}
        committed |= _people(head, "committer")
    return Authors(frozenset(wrote), frozenset(committed - wrote - {NO_ADDRESS}), len(hashes) > MOST_COMMITS)


def _hashes(repository: Path, version: str, since: str | None) -> list[str]:
    command = ["rev-list", f"--max-count={MOST_COMMITS + 1}", version]
    if since is not None and _COMMIT.fullmatch(since):
        try:
            return _git(repository, [*command, f"^{since}", "--"]).decode().split()
        except subprocess.SubprocessError:
            pass  # it is gone from the repository
    return _git(repository, [*command, "--"]).decode().split()


def _commits(repository: Path, hashes: Sequence[str]) -> Iterator[str]:
    """Yield the commits as they are stored; what is no UTF-8 in them is replaced."""
    asked = "".join(f"{commit}\n" for commit in hashes).encode()
    sizes = _git(repository, ["cat-file", "--batch-check=%(objectsize)"], asked).split()
    if sum(map(int, sizes)) > MOST_BYTES:
        raise ValueError("too much to read")
    found, at = _git(repository, ["cat-file", "--batch"], asked), 0
    for commit in hashes:
        end = found.index(b"\n", at)
        name, kind, size = found[at:end].decode().split(" ")
        if (name, kind) != (commit, "commit"):
            raise ValueError("not the commit that was asked for")
        at = end + 1 + int(size)
        yield found[end + 1 : at].decode("utf-8", "replace")
        at += 1


def _people(head: str, role: str) -> set[str]:
    """Return the addresses of a role in a commit's head, where lines of other parts are indented."""
    lines = [line for line in head.split("\n") if line.startswith(f"{role} ")]
    found = {mail.strip().lower() or NO_ADDRESS for line in lines for mail in _MAIL.findall(line)}
    if not found:
        raise ValueError(f"a commit without {role}")
    return found


def _git(repository: Path, arguments: Sequence[str], stdin: bytes = b"") -> bytes:
    """:raises subprocess.SubprocessError: when the command fails or takes too long."""
    done = subprocess.run(  # noqa: S603 - fixed commands; what varies is checked to be a hash
        ["git", "--git-dir", str(repository), *_SETTINGS, *arguments],  # noqa: S607
        input=stdin,
        capture_output=True,
        env=_ENVIRONMENT,
        timeout=TIMEOUT_SECONDS,
        check=True,
    )
    return done.stdout
