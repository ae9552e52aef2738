"""From bytes to lines: bounded, unpacked, decoded strictly, hashed on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

from airflow_approvals.data import reasons
from airflow_approvals.data.compression import Gunzip
from airflow_approvals.errors import DataError, FormatError, IntegrityError

#: The longest line (for CSV, the longest record) that is read, in bytes.
MAX_LINE_BYTES = 16 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
BOM = "\ufeff"


class HashedLines:
    """The lines of one binary stream, with the digest and size of what was read.

    :param stream: opened for reading bytes; read once, from start to end.
    :param name: how to name the object in an error.
    :param at_most: how many bytes it may have; what is longer is not read to its end.
    :param packed: whether the bytes are gzip; digest and size are of the bytes as they lie.
    """

    def __init__(
        self, stream: BinaryIO, name: str, at_most: int | None = None, *, packed: bool = False
    ) -> None:
        self._stream = stream
        self._name = name
        self._at_most = at_most
        self._hash = hashlib.sha256()
        self._gunzip = Gunzip(name) if packed else None
        self._pieces: Iterator[bytes] = iter(())
        self._is_empty = True
        self.size = 0
        self.has_bom = False

    @property
    def digest(self) -> str:
        """``sha256:<hex>`` of the bytes read so far; of all after :meth:`drain`."""
        return f"sha256:{self._hash.hexdigest()}"

    def __iter__(self) -> Iterator[str]:
        """Yield the lines with their line ends, without a byte order mark.

        :raises FormatError: when a line is too long or not UTF-8, or the object is empty or damaged.
        :raises DataError: when the stream cannot be read.
        :raises IntegrityError: when there is more of it than there may be.
        """
        for number, line in enumerate(self._lines(), start=1):
            text = self._decoded(line, number)
            if number == 1 and text.startswith(BOM):
                self.has_bom = True
                text = text[1:]
            if text:
                yield text
        if self._is_empty:
            raise FormatError(
                f"{self._name} is empty.", "Leave it out, or write it again.", reason=reasons.EMPTY
            )

    def drain(self) -> None:
        """Read and hash what is left."""
        while self._read():
            pass

    def _lines(self) -> Iterator[bytes]:
        pending: list[bytes] = []
        pending_size = 0
        while chunk := self._chunk():
            *whole, rest = chunk.split(b"\n")
            for part in whole:
                self._limit(pending_size + len(part))
                yield b"".join([*pending, part, b"\n"])
                pending, pending_size = [], 0
            pending.append(rest)
            pending_size += len(rest)
            self._limit(pending_size)
        if pending_size:
            yield b"".join(pending)

    def _chunk(self) -> bytes:
        chunk = self._read() if self._gunzip is None else self._unpacked(self._gunzip)
        self._is_empty = self._is_empty and not chunk
        return chunk

    def _unpacked(self, gunzip: Gunzip) -> bytes:
        while True:
            piece = next(self._pieces, b"")
            if piece:
                return piece
            packed = self._read()
            if not packed:
                gunzip.finish()
                return b""
            self._pieces = gunzip.feed(packed)

    def _read(self) -> bytes:
        failure = ""
        chunk = b""
        try:
            chunk = self._stream.read(CHUNK_BYTES)
        except Exception as error:
            failure = type(error).__name__
        if failure:
            raise DataError(f"{self._name} cannot be read to its end ({failure}).")
        self._hash.update(chunk)
        self.size += len(chunk)
        if self._at_most is not None and self.size > self._at_most:
            raise IntegrityError(
                f"{self._name} is longer than its manifest says: more than {self._at_most} bytes.",
                "The masked copy was changed after it was written; mask the data again.",
            )
        return chunk

    def _limit(self, size: int) -> None:
        if size > MAX_LINE_BYTES:
            raise FormatError(
                f"{self._name} has a line of more than {MAX_LINE_BYTES // 1024**2} MiB.",
                "Split the line, or store the value outside.",
                reason=reasons.LINE_TOO_LONG,
            )

    def _decoded(self, line: bytes, number: int) -> str:
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            text = "\0"
        # UTF-16 without a mark decodes as UTF-8 full of NULs, in which nothing would be found.
        if "\0" in text:
            raise FormatError(
                f"{self._name} line {number} is not UTF-8 text.",
                "Convert the file to UTF-8.",
                reason=reasons.ENCODING,
            )
        return text
