"""CSV without loss: delimiter, quoting style, blank lines and line ends stay as they are.

Python's csv module forgets which cells were quoted, so the cells are cut here. The dialect is
RFC 4180 with the delimiter found on a sample: cells may be quoted with ``"``, doubled inside.

Source: RFC 4180 section 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, islice

from airflow_approvals.data import header, reasons
from airflow_approvals.data import lines as line_source
from airflow_approvals.data.records import Field, Names, Record, unique
from airflow_approvals.errors import FormatError

DELIMITERS = (",", ";", "\t", "|")
_SAMPLE_LINES = 50
#: A longer header cell is a value that lost its header.
MAX_HEADER_CHARS = 1000
_QUOTE = '"'

#: ``(start, end, text, quoted)`` of a cell; start and end include the quotes.
_Cell = tuple[int, int, str, bool]


class CsvReader:
    """Reads CSV whose first record is the header.

    :param name: how to name the object in an error.
    :param names: finds what is in header cells, and makes them fit to be shown.
    :param delimiter: the delimiter, found on a sample when ``None``.
    """

    format = "csv"

    def __init__(self, name: str, names: Names, delimiter: str | None = None) -> None:
        self.columns: list[str] = []
        self._name = name
        self._names = names
        self._delimiter = delimiter

    def records(self, lines: Iterable[str]) -> Iterator[Record]:
        """Yield header and rows.

        :raises FormatError: when the first line is no header, or a row is ragged or cut off.
        """
        iterator = iter(lines)
        sample = list(islice(iterator, _SAMPLE_LINES))
        if self._delimiter is None:
            self._delimiter = sniff_delimiter(sample)
        cutter = _Cutter(self._name, self._delimiter, chain(sample, iterator))
        for number, raw, cells in cutter.records():
            if raw.strip("\r\n") == "":
                yield Record(raw, (), counts_as_row=False)
            elif not self.columns:
                yield self._header(raw, cells)
            else:
                yield self._row(number, raw, cells)

    def _header(self, raw: str, cells: list[_Cell]) -> Record:
        self._require_names([text for _, _, text, _ in cells])
        edits = []
        for start, end, text, quoted in cells:
            shown = self._names.shown(text)
            self.columns.append(unique(shown, self.columns))
            if shown != text:
                edits.append((start, end, self._encoder(quoted)(shown)))
        return Record(raw, (), tuple(edits), counts_as_row=False)

    def _require_names(self, texts: list[str]) -> None:
        if any(len(text) > MAX_HEADER_CHARS for text in texts):
            raise FormatError(
                f"{self._name} has a column name of more than {MAX_HEADER_CHARS} characters.",
                "The first line must hold the names of the columns.",
                reason=reasons.MALFORMED,
            )
        if header.is_data(texts, self._names.as_values(texts)):
            raise FormatError(
                f"{self._name} has no column names: the first line is not a header.",
                "Add a header line; a column named by a value (2020-01-31) needs a word with it.",
                reason=reasons.NO_HEADER,
            )

    def _row(self, number: int, raw: str, cells: list[_Cell]) -> Record:
        if len(cells) != len(self.columns):
            raise FormatError(
                f"{self._name} line {number} has {len(cells)} cells where the header has "
                f"{len(self.columns)}.",
                "Mend the line, or write the file again with its cells quoted.",
                reason=reasons.MALFORMED,
            )
        fields = (
            Field(column, start, end, text, self._encoder(quoted))
            for column, (start, end, text, quoted) in zip(self.columns, cells, strict=True)
        )
        return Record(raw, tuple(fields))

    def _encoder(self, quoted: bool) -> Callable[[str], str]:
        return partial(encode_cell, delimiter=self._delimiter or ",", quoted=quoted)


def encode_cell(text: str, *, delimiter: str, quoted: bool) -> str:
    """Return the raw form of a cell, quoted when it was or when it has to be."""
    if quoted or any(mark in text for mark in (delimiter, _QUOTE, "\n", "\r")):
        return _QUOTE + text.replace(_QUOTE, _QUOTE * 2) + _QUOTE
    return text


def sniff_delimiter(sample: list[str]) -> str:
    """Return the delimiter that cuts the sample into rows of one width; a comma when none does."""
    best, most = ",", 1
    for delimiter in DELIMITERS:
        width = _common_width(sample, delimiter)
        if width > most:
            best, most = delimiter, width
    return best


def _common_width(sample: list[str], delimiter: str) -> int:
    widths: set[int] = set()
    try:
        for _, raw, cells in _Cutter("sample", delimiter, sample).records():
            if raw.strip("\r\n"):
                widths.add(len(cells))
    except FormatError:
        # The sample may end inside a quoted cell; a real fault shows again in the reading.
        pass
    return widths.pop() if len(widths) == 1 else 0


class _Cutter:
    """Cuts lines into records of cells."""

    def __init__(self, name: str, delimiter: str, lines: Iterable[str]) -> None:
        self._name = name
        self._delimiter = delimiter
        self._lines = iter(lines)
        self._number = 0
        self._raw = ""

    def records(self) -> Iterator[tuple[int, str, list[_Cell]]]:
        """Yield (number of the first line, raw text, cells)."""
        for line in self._lines:
            self._number += 1
            start = self._number
            self._raw = line
            cells = self._cells()
            yield start, self._raw, cells

    def _cells(self) -> list[_Cell]:
        cells: list[_Cell] = []
        position = 0
        while True:
            cell = self._quoted(position) if self._raw.startswith(_QUOTE, position) else self._bare(position)
            cells.append(cell)
            position = cell[1]
            if not self._raw.startswith(self._delimiter, position):
                return cells
            position += len(self._delimiter)

    def _bare(self, start: int) -> _Cell:
        end = self._raw.find(self._delimiter, start)
        if end < 0:
            end = len(self._raw) - len(_line_end(self._raw))
        text = self._raw[start:end]
        # Old line ends make one line of a whole file, whose values would become column names.
        if "\r" in text:
            raise self._malformed("has a bare carriage return outside quotes")
        return start, end, text, False

    def _quoted(self, start: int) -> _Cell:
        close = _closing(self._raw, start + 1)
        if close < 0:
            close = self._extend()
        end = close + 1
        tail = self._raw[end:]
        if not tail.startswith(self._delimiter) and tail not in ("", "\n", "\r\n"):
            raise self._malformed("has text after a closing quote")
        return start, end, self._raw[start + 1 : close].replace(_QUOTE * 2, _QUOTE), True

    def _extend(self) -> int:
        """Add lines until the open quote is closed; return where, in the extended record."""
        first, parts, size = self._number, [self._raw], len(self._raw)
        for line in self._lines:
            self._number += 1
            close = _closing(line, 0)
            parts.append(line)
            if close >= 0:
                self._raw = "".join(parts)
                return size + close
            size += len(line)
            if size > line_source.MAX_LINE_BYTES:
                break
        self._number = first
        raise self._malformed("has a quote that is never closed")

    def _malformed(self, what: str) -> FormatError:
        return FormatError(
            f"{self._name} line {self._number} {what}.",
            "Write the file again as RFC 4180 says: quotes doubled inside quoted cells.",
            reason=reasons.MALFORMED,
        )


def _closing(text: str, start: int) -> int:
    position = text.find(_QUOTE, start)
    while position >= 0 and text.startswith(_QUOTE, position + 1):
        position = text.find(_QUOTE, position + 2)
    return position


def _line_end(raw: str) -> str:
    if raw.endswith("\r\n"):
        return "\r\n"
    return "\n" if raw.endswith("\n") else ""
