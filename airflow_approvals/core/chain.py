"""The hash chain of the ledger: how entries are hashed, and how a chain is verified.

1. ``leaf = SHA-256(0x00 || body)`` over the bytes of the body as they are stored.
2. ``entry = SHA-256(0x01 || previous entry || leaf)``; the first one follows :data:`GENESIS`.
   Both inputs are 32 raw bytes, so no two pairs give the same preimage.
3. A body states its own sequence number and the entry it follows. So an entry that was taken
   out of another chain is told apart from one that was edited in place.
4. The head, kept apart from the entries, states the newest one: a cut tail shows.
5. Verification names every bad row it can tell, not only the first: after a bad row it goes on
   from what that row claims.

What a chain cannot show: a rewrite of everything including the head. That takes a checkpoint
kept outside the database.

Source: RFC 6962, 2.1 (domain separation of leaf and node hashes),
https://www.rfc-editor.org/rfc/rfc6962#section-2.1; FIPS 180-4 (SHA-256).
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from airflow_approvals.core.digest import require_digest
from airflow_approvals.errors import ContractError

#: What the first entry follows.
GENESIS = "sha256:" + "0" * 64
#: A report lists at most this many problems; more would only fill memory.
MAX_PROBLEMS = 1000

_LEAF_TAG = b"\x00"
_ENTRY_TAG = b"\x01"


class ChainEntry(NamedTuple):
    """One entry as it is stored; ``seq`` counts from 1."""

    seq: int
    body: bytes
    leaf: str
    entry: str


class Head(NamedTuple):
    """What the head states: the newest entry; ``seq`` 0 and :data:`GENESIS` before the first."""

    seq: int
    entry: str


class ProblemKind(enum.StrEnum):
    """What is wrong with a row."""

    EDIT = "edit"
    GAP = "gap"
    FORK = "fork"
    TAIL_CUT = "tail_cut"
    EMPTY = "empty"
    PROJECTION = "projection"


@dataclass(frozen=True)
class Problem:
    """One thing that does not verify; ``seq`` is the row it was seen at (0 is the head)."""

    seq: int
    kind: ProblemKind
    sentence: str


@dataclass(frozen=True)
class ChainReport:
    """The outcome of a verification; ``size`` counts the entries that were read."""

    ok: bool
    size: int
    problems: tuple[Problem, ...]


def leaf_hash(body: bytes) -> str:
    """Return the digest of a leaf: the stored bytes of an entry's body."""
    return f"sha256:{hashlib.sha256(_LEAF_TAG + body).hexdigest()}"


def entry_hash(previous: str, leaf: str) -> str:
    """Return the digest of an entry: what stood before it, and its leaf.

    :raises ContractError: when either is not a digest.
    """
    return f"sha256:{hashlib.sha256(_ENTRY_TAG + _raw(previous) + _raw(leaf)).hexdigest()}"


def _raw(digest: str) -> bytes:
    return bytes.fromhex(require_digest(digest, "A chained hash").removeprefix("sha256:"))


def verify_chain(entries: Iterable[tuple[int, bytes, str, str]], head: tuple[int, str] | None) -> ChainReport:
    """Verify a whole chain against its head.

    :param entries: ``(seq, body, leaf, entry)`` in ascending order of ``seq``; read once.
    :param head: ``(seq, entry)`` as the head states it, ``None`` when there is no head.
    """
    walk = _Walk()
    for entry in entries:
        walk.step(ChainEntry(*entry))
    walk.end(None if head is None else Head(*head))
    return ChainReport(not walk.problems, walk.size, tuple(walk.problems))


@dataclass
class _Walk:
    """A verification on its way: the last row read, as that row states itself."""

    size: int = 0
    last: int = 0
    previous: str = GENESIS
    problems: list[Problem] = field(default_factory=list)

    def step(self, entry: ChainEntry) -> None:
        body = _read(entry.body)
        self._sequence(entry, body)
        self._hashes(entry, body)
        self.size += 1
        self.last = entry.seq
        self.previous = entry.entry

    def _sequence(self, entry: ChainEntry, body: dict[str, Any]) -> None:
        missing = range(self.last + 1, entry.seq)
        if missing:
            self._add(missing[0], ProblemKind.GAP, f"{_rows(missing)} missing.")
            # Nothing is left to compare with; the row's own word lets the walk go on.
            self.previous = str(body.get("prev"))
        elif entry.seq <= self.last:
            self._add(entry.seq, ProblemKind.FORK, f"Entry {entry.seq} comes a second time or out of order.")

    def _hashes(self, entry: ChainEntry, body: dict[str, Any]) -> None:
        seq = entry.seq
        if leaf_hash(entry.body) != entry.leaf:
            self._add(seq, ProblemKind.EDIT, f"Entry {seq} was edited: its body does not match its hash.")
        elif body.get("seq") != seq:
            self._add(seq, ProblemKind.EDIT, f"Entry {seq} was edited: its body belongs to another place.")
        elif not _follows(entry, str(body.get("prev"))):
            self._add(seq, ProblemKind.EDIT, f"Entry {seq} was edited: its chained hash does not match.")
        elif body.get("prev") != self.previous:
            sentence = f"Entry {seq} follows another entry {seq - 1} than the one stored; one was replaced."
            self._add(seq, ProblemKind.FORK, sentence)

    def end(self, head: Head | None) -> None:
        if head is None:
            self._add(0, ProblemKind.EMPTY, "The head is gone, so nothing says how long the ledger was.")
        elif self.size == 0 and head.seq > 0:
            sentence = f"The whole ledger is gone: its head states {head.seq} entries, none is stored."
            self._add(0, ProblemKind.EMPTY, sentence)
        elif head.seq > self.last:
            missing = range(self.last + 1, head.seq + 1)
            self._add(missing[0], ProblemKind.TAIL_CUT, f"The tail was cut: {_rows(missing)} missing.")
        elif head.seq < self.last:
            sentence = f"Entries up to {self.last} are stored, but the head states only {head.seq}."
            self._add(head.seq + 1, ProblemKind.FORK, sentence)
        elif head.entry != self.previous:
            self._add(
                head.seq, ProblemKind.FORK, f"The head states another entry {head.seq} than the one stored."
            )

    def _add(self, seq: int, kind: ProblemKind, sentence: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(seq, kind, sentence))


def _follows(entry: ChainEntry, previous: str) -> bool:
    try:
        return entry_hash(previous, entry.leaf) == entry.entry
    except ContractError:
        return False


def _read(body: bytes) -> dict[str, Any]:
    """Return the body's fields; none when the bytes are not an object, which no append writes."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _rows(missing: range) -> str:
    if len(missing) == 1:
        return f"entry {missing[0]} is"
    return f"entries {missing[0]} to {missing[-1]} are"
