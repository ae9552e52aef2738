"""Lines are bounded, decoded strictly and hashed."""

from __future__ import annotations

import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_approvals.data import lines as module
from airflow_approvals.data.lines import CHUNK_BYTES, HashedLines
from airflow_approvals.errors import DataError, FormatError, IntegrityError


class _Trickle(io.BytesIO):
    """Gives at most three bytes at a time."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(3)


@given(st.text(alphabet="ab,\n\ré\u2028\U0001f600", min_size=1))
def test_lines_are_the_text_cut_after_every_newline(text: str) -> None:
    data = text.encode()
    lines = HashedLines(_Trickle(data), "x")
    assert list(lines) == text.replace("\n", "\n\0").removesuffix("\0").split("\0")
    assert lines.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert lines.size == len(data)


def test_byte_order_mark_is_noted_and_not_text() -> None:
    lines = HashedLines(io.BytesIO(b"\xef\xbb\xbfa\nb"), "x")
    assert list(lines) == ["a\n", "b"]
    assert lines.has_bom


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"good\ncaf\xe9\n", "not UTF-8"),
        ("alice".encode("utf-16"), "not UTF-8"),
        ("alice".encode("utf-16-le"), "not UTF-8"),
        (b"cut off \xc3", "not UTF-8"),
    ],
)
def test_bytes_that_are_not_text_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(FormatError, match=r"^file\.txt ") as caught:
        list(HashedLines(io.BytesIO(data), "file.txt"))
    assert caught.value.reason == reason
    assert caught.value.__context__ is None or "alice" not in str(caught.value.__context__)


class _Endless(io.RawIOBase):
    """200 MB in one line; counts what was asked for."""

    given = 0

    def read(self, size: int = -1) -> bytes:
        if self.given >= 200_000_000:
            return b""
        self.given += size
        return b"a" * size


def test_line_of_200_megabytes_is_refused_before_it_is_read() -> None:
    stream = _Endless()
    with pytest.raises(FormatError, match="a line of more than 16 MiB") as caught:
        list(HashedLines(stream, "x"))  # type: ignore[arg-type]
    assert caught.value.reason == "line too long"
    assert stream.given < 20_000_000


def test_nothing_is_read_ahead_of_what_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", 8)
    stream = io.BytesIO(b"one\ntwo\n" * 1000)
    next(iter(HashedLines(stream, "x")))
    assert stream.tell() == 8


def test_read_that_fails_is_named_without_its_words() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise RuntimeError("carol@example.com")

    with pytest.raises(DataError, match=r"x cannot be read to its end \(RuntimeError\)") as caught:
        list(HashedLines(Failing(), "x"))
    assert caught.value.__context__ is None


def test_more_than_there_may_be_is_not_read():
    stream = io.BytesIO(b"ab\n" * CHUNK_BYTES)
    with pytest.raises(IntegrityError, match="longer than its manifest says: more than 5 bytes"):
        HashedLines(stream, "x", at_most=5).drain()
    assert stream.tell() == CHUNK_BYTES
    lines = HashedLines(io.BytesIO(b"ab\ncd"), "x", at_most=5)
    assert list(lines) == ["ab\n", "cd"]
