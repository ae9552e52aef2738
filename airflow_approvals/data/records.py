"""What every format reads: records with fields, each knowing its place in the raw text.

A masked record is the raw text with some fields replaced, so that whatever was not masked
comes out byte for byte as it went in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from airflow_approvals.detection.findings import Finding

#: ``(start, end, replacement)`` in characters of a record's raw text.
Edit = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Field:
    """One cell, leaf or passage.

    ``text`` is what is scanned, ``start`` and ``end`` its place in the raw text (quotes
    included), ``encode`` turns a masked text into its raw form, ``column`` is a display name.
    """

    column: str
    start: int
    end: int
    text: str
    encode: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Record:
    """A row, a JSON line or a passage of text; ``edits`` are names already found sensitive."""

    raw: str
    fields: tuple[Field, ...]
    edits: tuple[Edit, ...] = ()
    counts_as_row: bool = True

    def spliced(self, replaced: Mapping[int, str]) -> str:
        """Return the raw text with the fields of these indexes replaced."""
        edits = [*self.edits]
        for index, text in replaced.items():
            field = self.fields[index]
            edits.append((field.start, field.end, field.encode(text)))
        if not edits:
            return self.raw
        return "".join(_pieces(self.raw, sorted(edits)))


class Names(Protocol):
    """Makes names fit to be shown, see :class:`airflow_approvals.data.names.NameScanner`."""

    def shown(self, name: str) -> str:
        """Return the name, with whatever is sensitive in it replaced."""

    def as_values(self, names: Sequence[str]) -> list[list[Finding]]:
        """Return what is found in each name when it is taken for a value."""


class Reader(Protocol):
    """Reads one object. ``columns`` grows while it is read; ``format`` is the manifest's word."""

    format: str
    columns: list[str]

    def records(self, lines: Iterable[str]) -> Iterator[Record]:
        """Yield the records of the object, whose lines come with their line ends."""


def _pieces(raw: str, edits: list[Edit]) -> Iterator[str]:
    position = 0
    for start, end, replacement in edits:
        yield raw[position:start]
        yield replacement
        position = end
    yield raw[position:]


def unique(name: str, taken: Iterable[str], mark: str = "#") -> str:
    """Return the name, numbered (``name#2``) when it is taken."""
    used = set(taken)
    if name not in used:
        return name
    number = 2
    while f"{name}{mark}{number}" in used:
        number += 1
    return f"{name}{mark}{number}"
