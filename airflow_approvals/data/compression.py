"""Gzip, piece by piece: bounded in memory whatever a file unpacks to.

Source: RFC 1952 (members follow each other; section 2.3.1: no modification time is zero).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from airflow_approvals.data import reasons
from airflow_approvals.errors import FormatError

GZIP = ".gz"
#: What :mod:`zlib` calls gzip with the largest window.
_GZIP_WINDOW = 31
_PIECE_BYTES = 1024 * 1024
#: Text packs about 3 to 30 times; a file that is made to fill a disk packs a thousand times.
MAX_RATIO = 300
_NOT_JUDGED_BYTES = 16 * 1024 * 1024


class Gunzip:
    """Unpacks one object.

    :param name: how to name it in an error.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._member: zlib._Decompress | None = None
        self._members = self._packed = self._unpacked = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what the next bytes unpack to, a piece of at most 1 MiB at a time.

        :raises FormatError: when they are not gzip, or unpack to more than text does.
        """
        self._packed += len(data)
        while data:
            if self._member is None:
                # Tapes and some tools fill the end with zeros.
                data = data.lstrip(b"\0") if self._members else data
                if not data:
                    return
                self._member, self._members = zlib.decompressobj(_GZIP_WINDOW), self._members + 1
            piece, data = self._piece(self._member, data)
            if piece:
                yield piece

    def finish(self) -> None:
        """:raises FormatError: when the object ends in the middle."""
        if self._member is not None or not self._members:
            raise self._broken("is cut off")

    def _piece(self, member: zlib._Decompress, data: bytes) -> tuple[bytes, bytes]:
        failed = False
        try:
            piece = member.decompress(data, _PIECE_BYTES)
        except zlib.error:
            failed, piece = True, b""
        if failed:
            raise self._broken("is not gzip, or damaged")
        self._unpacked += len(piece)
        if self._unpacked > max(_NOT_JUDGED_BYTES, MAX_RATIO * self._packed):
            raise self._broken(f"unpacks to more than {MAX_RATIO} times its size")
        if member.eof:
            self._member = None
            return piece, member.unused_data
        return piece, member.unconsumed_tail

    def _broken(self, how: str) -> FormatError:
        return FormatError(f"{self._name} {how}.", "Unpack it and look at it.", reason=reasons.COMPRESSION)


class Gzip:
    """Packs one object; the same bytes for the same text, so the time is left out."""

    def __init__(self) -> None:
        self._packing = zlib.compressobj(6, zlib.DEFLATED, _GZIP_WINDOW)

    def pack(self, data: bytes) -> bytes:
        """Return what is ready."""
        return self._packing.compress(data)

    def end(self) -> bytes:
        """Return the rest."""
        return self._packing.flush()
