"""JSON lines without loss: only the strings and numbers that are masked change.

Source: RFC 8259; https://jsonlines.org.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator

from airflow_approvals.data import reasons
from airflow_approvals.data.records import Edit, Field, Names, Record, unique
from airflow_approvals.errors import FormatError

MAX_DEPTH = 64
#: Objects with keys made of data would have a column each; the rest share one name.
MAX_COLUMNS = 1000
MAX_PATH_CHARS = 1000
FURTHER_COLUMNS = "(further columns)"

# Public in effect (JSONDecoder.parse_string), not in the type stubs.
_scan_string = json.JSONDecoder().parse_string  # type: ignore[attr-defined]
_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORD = re.compile(r"true|false|null")


class JsonLinesReader:
    """Reads one JSON value per line; columns are dotted paths, ``[]`` stands for any index.

    :param name: how to name the object in an error.
    :param names: makes keys fit to be shown.
    """

    format = "jsonl"

    def __init__(self, name: str, names: Names) -> None:
        self.columns: list[str] = []
        self._known: set[str] = set()
        self._name = name
        self._names = names

    def records(self, lines: Iterable[str]) -> Iterator[Record]:
        """Yield one record per line; :raises FormatError: when a line is not JSON."""
        for number, line in enumerate(lines, start=1):
            if line.strip() == "":
                yield Record(line, (), counts_as_row=False)
            else:
                yield self._record(line, number)

    def _record(self, line: str, number: int) -> Record:
        scanner = _Scanner(line, self._names, self._column)
        try:
            scanner.scan()
        except (ValueError, RecursionError):
            scanner.failed = True
        if scanner.failed:
            # Raised outside the handler: the decoder's error carries the whole line.
            raise FormatError(
                f"{self._name} line {number} is not a JSON value of at most {MAX_DEPTH} levels.",
                "Each line must hold one JSON value (https://jsonlines.org).",
                reason=reasons.MALFORMED,
            )
        return Record(line, tuple(scanner.fields), tuple(scanner.edits))

    def _column(self, path: str) -> str:
        if path in self._known:
            return path
        if len(self._known) >= MAX_COLUMNS or len(path) > MAX_PATH_CHARS:
            path = FURTHER_COLUMNS
        if path not in self._known:
            self._known.add(path)
            self.columns.append(path)
        return path


class _Scanner:
    """Walks one JSON text and notes where its strings and numbers stand."""

    def __init__(self, raw: str, names: Names, column: Callable[[str], str]) -> None:
        self.fields: list[Field] = []
        self.edits: list[Edit] = []
        self.failed = False
        self._raw = raw
        self._names = names
        self._column = column

    def scan(self) -> None:
        end = self._skip(self._value(self._skip(0), "", 0))
        if end != len(self._raw):
            raise ValueError("trailing text")

    def _value(self, start: int, path: str, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise ValueError("too deep")
        first = self._raw[start : start + 1]
        if first == "{":
            return self._object(start, path, depth)
        if first == "[":
            return self._array(start, path, depth)
        if first == '"':
            return self._string(start, path)
        return self._number_or_word(start, path)

    def _object(self, start: int, path: str, depth: int) -> int:
        position = self._skip(start + 1)
        if self._raw[position : position + 1] == "}":
            return position + 1
        taken: set[str] = set()
        while True:
            key, position = self._key(position, taken)
            position = self._expect(":", position)
            inner = f"{path}.{key}" if path else key
            position = self._skip(self._value(self._skip(position), inner, depth + 1))
            if self._raw[position : position + 1] == "}":
                return position + 1
            position = self._skip(self._expect(",", position))

    def _key(self, start: int, taken: set[str]) -> tuple[str, int]:
        self._expect('"', start)
        key, end = _scan_string(self._raw, start + 1, True)
        shown = self._names.shown(key)
        if shown != key:
            # Two keys may mask to the same name; readers keep only the last of equal keys.
            shown = unique(shown, taken)
            self.edits.append((start, end, _encoded(shown)))
        taken.add(shown)
        return shown, end

    def _array(self, start: int, path: str, depth: int) -> int:
        position = self._skip(start + 1)
        if self._raw[position : position + 1] == "]":
            return position + 1
        while True:
            position = self._skip(self._value(position, f"{path}[]", depth + 1))
            if self._raw[position : position + 1] == "]":
                return position + 1
            position = self._skip(self._expect(",", position))

    def _string(self, start: int, path: str) -> int:
        text, end = _scan_string(self._raw, start + 1, True)
        self.fields.append(Field(self._column(path), start, end, text, _encoded))
        return int(end)

    def _number_or_word(self, start: int, path: str) -> int:
        if word := _WORD.match(self._raw, start):
            return word.end()
        number = _NUMBER.match(self._raw, start)
        if number is None:
            raise ValueError("no value")
        self.fields.append(Field(self._column(path), start, number.end(), number[0], _encoded))
        return number.end()

    def _expect(self, mark: str, position: int) -> int:
        position = self._skip(position)
        if self._raw[position : position + 1] != mark:
            raise ValueError("unexpected character")
        return position + 1

    def _skip(self, position: int) -> int:
        match = _SPACE.match(self._raw, position)
        return position if match is None else match.end()


def _encoded(text: str) -> str:
    # A lone surrogate has no UTF-8 form, so what has one is written with escapes throughout.
    ascii_only = any("\ud800" <= character <= "\udfff" for character in text)
    return json.dumps(text, ensure_ascii=ascii_only)
