"""Plain text and logs: a passage is what is scanned together.

In a log a passage is a line, in prose a paragraph, so that a name over a line break is found.
A secret that spans lines (a key block, a password on the next line) is always in one passage,
wherever the lines are cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from airflow_approvals.data.records import Field, Record
from airflow_approvals.detection.secrets import MAX_BLOCK, line_crossing_spans

#: Lines are looked at together up to this many characters, plus an open key block.
WINDOW_CHARS = 64 * 1024
PARAGRAPH_CHARS = 4_000

_OPENS = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-")
_CLOSES = re.compile(r"-----END (?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----|Private-MAC:")


class TextReader:
    """Reads plain text; it has no columns.

    :param paragraphs: whether lines without a blank one between them belong together.
    """

    format = "text"

    def __init__(self, *, paragraphs: bool) -> None:
        self.columns: list[str] = []
        self._paragraphs = paragraphs

    def records(self, lines: Iterable[str]) -> Iterator[Record]:
        """Yield passages; all of them together are the text."""
        for window in _windows(lines):
            for passage in self._passages(window):
                yield _record(passage)

    def _passages(self, window: list[str]) -> Iterator[str]:
        joined = _joined_lines(window)
        passage: list[str] = []
        size = 0
        for index, line in enumerate(window):
            if passage and index not in joined and self._cuts(passage[-1], line, size):
                yield "".join(passage)
                passage, size = [], 0
            passage.append(line)
            size += len(line)
        if passage:
            yield "".join(passage)

    def _cuts(self, before: str, line: str, size: int) -> bool:
        if not self._paragraphs or size > PARAGRAPH_CHARS:
            return True
        return before.strip() == "" or line.strip() == ""


def _windows(lines: Iterable[str]) -> Iterator[list[str]]:
    window: list[str] = []
    size, opened = 0, None
    for line in lines:
        window.append(line)
        size += len(line)
        if _OPENS.search(line):
            opened = size
        if _CLOSES.search(line):
            opened = None
        in_block = opened is not None and size - opened < MAX_BLOCK
        if size >= WINDOW_CHARS and not in_block and not _awaits_value(line):
            yield window
            window, size, opened = [], 0, None
    if window:
        yield window


def _awaits_value(line: str) -> bool:
    return len(line) < PARAGRAPH_CHARS and line.rstrip().endswith((":", "=", "=>"))


def _joined_lines(window: list[str]) -> set[int]:
    """Return the indexes of lines that a secret joins to the line before."""
    starts, position = [], 0
    for line in window:
        starts.append(position)
        position += len(line)
    joined: set[int] = set()
    spans = iter(line_crossing_spans("".join(window)))
    span = next(spans, None)
    for index, start in enumerate(starts):
        while span is not None and span[1] <= start:
            span = next(spans, None)
        if span is not None and span[0] < start:
            joined.add(index)
    return joined


def _record(passage: str) -> Record:
    end = len(passage.rstrip("\r\n"))
    return Record(passage, (Field("", 0, end, passage[:end], str),) if end else ())
