"""Gzip is read and written as it comes: piece by piece, and nothing that is made to fill a disk."""

from __future__ import annotations

import gzip
import hashlib
import io
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_approvals.data import compression
from airflow_approvals.data.classifying import classify_data
from airflow_approvals.data.lines import HashedLines
from airflow_approvals.data.masking import mask_data
from airflow_approvals.data.references import load_manifest
from airflow_approvals.detection.profiles import load_profile
from airflow_approvals.errors import ApprovalsError, FormatError
from tests.detection.engines import classification_engine, masking_engine

ROWS = "id,email\n1,carol@example.com\n2,dave@example.com\n"
PACKED = gzip.compress(ROWS.encode(), mtime=0)


class _Trickle(io.BytesIO):
    """Gives at most three bytes at a time."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(3)


@given(st.lists(st.text(alphabet="ab\né\U0001f600", min_size=1), min_size=1, max_size=3))
def test_members_that_follow_each_other_are_one_text(texts: list[str]) -> None:
    data = b"".join(gzip.compress(text.encode()) for text in texts) + b"\0\0"
    lines = HashedLines(_Trickle(data), "x.gz", packed=True)
    assert "".join(lines) == "".join(texts)
    assert (lines.digest, lines.size) == (f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (PACKED[:-9], "is cut off"),
        (PACKED[:5], "is cut off"),
        (PACKED + b"tail", "is not gzip, or damaged"),
        (PACKED[:-3] + b"abc", "is not gzip, or damaged"),
        (zlib.compress(ROWS.encode()), "is not gzip, or damaged"),
        (ROWS.encode(), "is not gzip, or damaged"),
        (b"", "is cut off"),
        (gzip.compress(b"", mtime=0), "is empty"),
    ],
    ids=["short", "head", "tail", "check", "zlib", "text", "nothing", "empty"],
)
def test_what_is_no_whole_gzip_is_refused_and_leaves_nothing(
    tmp_path: Path, data: bytes, message: str
) -> None:
    (tmp_path / "people.csv.gz").write_bytes(data)
    with pytest.raises(FormatError, match=rf"^people\.csv\.gz {message}") as refused:
        mask_data(
            str(tmp_path / "people.csv.gz"),
            str(tmp_path / "out"),
            profile="llm-training",
            engine=masking_engine(),
        )
    assert "carol" not in str(refused.value)
    assert not (tmp_path / "out").exists()


LINE = b"a line that says nothing new, again and again; " * 80 + b"\n"


def peak(lines: HashedLines) -> int:
    """Read everything; return how many bytes were held at most."""
    tracemalloc.start()
    try:
        for _ in lines:
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_bomb_is_refused_before_it_fills_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "_NOT_JUDGED_BYTES", 1024 * 1024)
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    data = b"".join(bomb.compress(LINE * 256) for _ in range(40)) + bomb.flush()
    lines = HashedLines(io.BytesIO(data), "bomb.csv.gz", packed=True)
    read = 0

    def read_on() -> None:
        nonlocal read
        for line in lines:
            read += len(line)

    with pytest.raises(FormatError, match="more than 300 times its size"):
        read_on()
    assert read < 2 * 1024 * 1024 + 300 * len(data)
    lines.drain()
    assert lines.size == len(data), "its digest is known all the same"


def test_memory_does_not_grow_with_what_a_file_unpacks_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "MAX_RATIO", 10_000)
    small, large = (gzip.compress(LINE * count) for count in (1_000, 6_000))
    held = peak(HashedLines(io.BytesIO(small), "x.log.gz", packed=True))
    assert peak(HashedLines(io.BytesIO(large), "x.log.gz", packed=True)) < 1.3 * held


def test_a_packed_file_is_masked_into_a_packed_file(tmp_path: Path) -> None:
    with gzip.GzipFile(tmp_path / "people.csv.gz", "wb", mtime=12345) as file:
        file.write(b"\xef\xbb\xbf" + ROWS.encode())
    digests = set()
    for target in ("one", "two"):
        reference = mask_data(
            str(tmp_path / "people.csv.gz"),
            str(tmp_path / target),
            profile="llm-training",
            engine=masking_engine(),
        )
        digests.add(reference.digest)
    assert len(digests) == 1, "the same bytes, whenever they are written"
    (entry,) = load_manifest(reference).objects
    packed = (tmp_path / "one" / "people.csv.gz").read_bytes()
    assert (entry.uri, entry.format, entry.rows) == ("people.csv.gz", "csv", 2)
    assert (entry.size, entry.sha256) == (len(packed), f"sha256:{hashlib.sha256(packed).hexdigest()}")
    masked = "id,email\n1,<EMAIL_ADDRESS>\n2,<EMAIL_ADDRESS>\n"
    assert gzip.decompress(packed) == b"\xef\xbb\xbf" + masked.encode()
    evidence = classify_data(reference, engine=classification_engine())
    assert (evidence.not_scanned, evidence.subject) == ((), reference.digest)


def test_what_cannot_be_unpacked_is_not_scanned_and_restricted(tmp_path: Path) -> None:
    (tmp_path / "people.csv.gz").write_bytes(PACKED[:-9])
    evidence = classify_data(str(tmp_path), engine=classification_engine())
    assert evidence.not_scanned == (("people.csv.gz", "cannot be unpacked"),)
    assert evidence.label.word == "restricted"


def test_a_sensitive_name_keeps_both_its_extensions(tmp_path: Path) -> None:
    (tmp_path / "carol@example.com.csv.gz").write_bytes(PACKED)
    reference = mask_data(
        str(tmp_path / "carol@example.com.csv.gz"),
        str(tmp_path / "out"),
        profile=load_profile("llm-training"),
        engine=masking_engine(),
    )
    assert [entry.uri for entry in load_manifest(reference).objects] == ["_EMAIL_ADDRESS_.csv.gz"]


def test_a_packed_file_without_a_format_names_what_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "people.gz").write_bytes(PACKED)
    with pytest.raises(ApprovalsError, match=r"each also with \.gz"):
        mask_data(
            str(tmp_path / "people.gz"), str(tmp_path / "out"), profile="logs", engine=masking_engine("logs")
        )
