"""Only what was approved leaves, and it leaves as a whole."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_approvals.core.manifest import Manifest, ObjectEntry
from airflow_approvals.data import release as module
from airflow_approvals.data.receipt import Receipt
from airflow_approvals.data.release import release_data
from airflow_approvals.data.staging import MARK
from airflow_approvals.errors import ContractError, DataError, IntegrityError
from tests.data.evil_fs import FreshMemory, RecordsWrites, SecondOpenLies, attached

FILES = {"a.csv": b"id\n1\n", "deep/b.txt": b"text"}


def _entry(uri: str, data: bytes) -> ObjectEntry:
    return ObjectEntry(uri, f"sha256:{hashlib.sha256(data).hexdigest()}", len(data), 1, "text")


def _manifest(files: dict[str, bytes]) -> Manifest:
    objects = tuple(_entry(uri, data) for uri, data in files.items())
    return Manifest(objects, "logs", f"sha256:{'0' * 64}", "model", "code", ())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with the files."""
    for name, data in FILES.items():
        path = tmp_path / "copy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "copy"


def _release(copy: Path, manifest: Manifest | None = None, grant: str = "g1") -> Receipt:
    return release_data(
        manifest or _manifest(FILES), str(copy.parent / "sink/x"), source=str(copy), grant=grant
    )


def _visible(tmp_path: Path) -> list[str]:
    sink = tmp_path / "sink"
    return sorted(str(p.relative_to(sink)) for p in sink.rglob("*") if p.is_file())


def test_release_copies_the_objects_and_leaves_a_receipt(copy: Path, tmp_path: Path) -> None:
    receipt = _release(copy)
    assert _visible(tmp_path) == ["x/_receipt.json", "x/a.csv", "x/deep/b.txt"]
    assert (tmp_path / "sink/x/deep/b.txt").read_bytes() == FILES["deep/b.txt"]
    written = json.loads((tmp_path / "sink/x/_receipt.json").read_text())
    assert Receipt.from_document(written) == receipt
    assert (written["manifest_digest"], written["grant"]) == (_manifest(FILES).digest, "g1")


@pytest.mark.parametrize("changed", [b"id\n2\n", b"id\n1\n2\n", b"id", b""])
def test_changed_object_releases_nothing(copy: Path, tmp_path: Path, changed: bytes) -> None:
    (copy / "a.csv").write_bytes(changed)
    with pytest.raises(IntegrityError, match=r"a\.csv is not what was approved"):
        _release(copy)
    assert _visible(tmp_path) == []


@pytest.mark.parametrize("changed", [b"id\n2\n", b"id\n1\ncanary", b"i"])
def test_no_byte_of_a_changed_object_reaches_the_sink(copy: Path, changed: bytes) -> None:
    (copy / "a.csv").write_bytes(changed)
    with attached(RecordsWrites) as sink:
        with pytest.raises(IntegrityError):
            release_data(_manifest(FILES), "recording://sink/x", source=str(copy), grant="g1")
        assert [path for path, _ in sink.written if "a.csv" in path] == []
        (copy / "a.csv").write_bytes(FILES["a.csv"])
        release_data(_manifest(FILES), "recording://sink/x", source=str(copy), grant="g1")
        assert ("/sink/x.partial/a.csv", FILES["a.csv"]) in sink.written


def test_spool_has_no_name_and_is_readable_by_nobody_else(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spools").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "spools"))
    seen: list[tuple[int, list[Path]]] = []

    def looking(spool: Any, *rest: Any) -> None:
        mode = stat.S_IMODE(os.fstat(spool.fileno()).st_mode)
        seen.append((mode, list((tmp_path / "spools").iterdir())))
        send(spool, *rest)

    send = module._send
    monkeypatch.setattr(module, "_send", looking)
    _release(copy)
    assert seen == [(0o600, [])] * len(FILES)
    assert list((tmp_path / "spools").iterdir()) == []


def test_large_object_is_held_on_disk_and_not_in_memory(tmp_path: Path) -> None:
    data = os.urandom(1024) * 32 * 1024
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy/a.log").write_bytes(data)
    manifest = _manifest({"a.log": data})
    tracemalloc.start()
    try:
        release_data(manifest, str(tmp_path / "sink"), source=str(tmp_path / "copy"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(data) / 4
    assert (tmp_path / "sink/a.log").read_bytes() == data


def test_disk_without_room_is_named(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: Any) -> Any:
        return Path("/dev/full").open("r+b", buffering=0)

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(DataError, match=r"a\.csv cannot be held .* No space left.*TMPDIR"):
        _release(copy)
    assert _visible(tmp_path) == []


def test_masked_copy_is_never_the_staging_place(tmp_path: Path) -> None:
    copy = tmp_path / "x.partial"
    copy.mkdir()
    (copy / "a.csv").write_bytes(FILES["a.csv"])
    (copy / "_incomplete").write_bytes(MARK)
    manifest = _manifest({"a.csv": FILES["a.csv"]})
    with pytest.raises(DataError, match="overlaps the source"):
        release_data(manifest, str(tmp_path / "x"), source=str(copy))
    assert (copy / "a.csv").read_bytes() == FILES["a.csv"]


def test_missing_object_releases_nothing(copy: Path, tmp_path: Path) -> None:
    (copy / "deep/b.txt").unlink()
    with pytest.raises(DataError, match=r"deep/b\.txt does not exist"):
        _release(copy)
    assert _visible(tmp_path) == []


def test_file_system_that_lies_from_the_second_open_fools_nobody(tmp_path: Path) -> None:
    with attached(SecondOpenLies) as fs:
        for name, data in FILES.items():
            fs.pipe_file(f"/bucket/copy/{name}", data)
        release_data(_manifest(FILES), str(tmp_path / "sink/x"), source="liar://bucket/copy", grant="g1")
        assert {name: fs.opened[f"/bucket/copy/{name}"] for name in FILES} == dict.fromkeys(FILES, 1)
        for name, data in FILES.items():
            assert (tmp_path / "sink/x" / name).read_bytes() == data
        with pytest.raises(IntegrityError):
            release_data(_manifest(FILES), str(tmp_path / "sink/y"), source="liar://bucket/copy", grant="g1")
        assert not (tmp_path / "sink/y").exists()


def test_second_release_returns_the_first_receipt_and_writes_nothing(copy: Path, tmp_path: Path) -> None:
    receipt = _release(copy)
    before = (tmp_path / "sink/x/_receipt.json").stat().st_mtime_ns
    (copy / "a.csv").unlink()
    assert _release(copy) == receipt
    assert (tmp_path / "sink/x/_receipt.json").stat().st_mtime_ns == before


def test_destination_of_another_release_is_refused(copy: Path) -> None:
    _release(copy)
    with pytest.raises(DataError, match="exists already"):
        _release(copy, grant="g2")


def test_stale_attempt_is_removed(copy: Path, tmp_path: Path) -> None:
    stale = tmp_path / "sink/x.partial/stale.txt"
    stale.parent.mkdir(parents=True)
    stale.write_text("left over")
    stale.with_name("_incomplete").write_bytes(MARK)
    _release(copy)
    assert _visible(tmp_path) == ["x/_receipt.json", "x/a.csv", "x/deep/b.txt"]


def test_object_store_gets_the_receipt_last(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with attached(FreshMemory) as fs:
        copied: list[str] = []
        cp_file = fs.cp_file
        monkeypatch.setattr(fs, "cp_file", lambda a, b: (copied.append(b), cp_file(a, b)))
        release_data(_manifest(FILES), "fresh://sink/x", source=str(copy), grant="g1")
        assert copied == ["/sink/x/a.csv", "/sink/x/deep/b.txt", "/sink/x/_receipt.json"]
        assert sorted(fs.find("/sink")) == sorted(copied)


ESCAPES = ["../a.csv", "/etc/passwd", "deep/../../a", "", "a//b", "./a", "..\\a", "s3://b/k"]


@pytest.mark.parametrize("name", [*ESCAPES, "_receipt.json", "a\0"])
def test_name_that_leads_out_of_the_folder_is_refused(copy: Path, tmp_path: Path, name: str) -> None:
    manifest = replace(_manifest({}), objects=(_entry(name, b"x"),))
    with pytest.raises(DataError, match="outside its folder"):
        _release(copy, manifest)
    assert _visible(tmp_path) == []


def test_empty_or_ambiguous_manifest_is_refused(copy: Path) -> None:
    twice = replace(_manifest({}), objects=(_entry("a.csv", b"1"), _entry("a.csv", b"2")))
    for manifest in (_manifest({}), twice):
        with pytest.raises(DataError, match="twice, or none"):
            _release(copy, manifest)


def test_unforeseen_error_in_the_middle_leaves_nothing(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> tuple[str, int]:
        raise RuntimeError("canary")

    monkeypatch.setattr(module, "_pump", failing)
    with pytest.raises(DataError, match="RuntimeError at") as caught:
        _release(copy)
    assert "canary" not in str(caught.value)
    assert _visible(tmp_path) == []


def test_receipt_reads_strictly() -> None:
    with pytest.raises(ContractError):
        Receipt.from_document({"version": 1})
