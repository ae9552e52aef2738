"""Only what carries our mark is ever removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_approvals.data.places import Place
from airflow_approvals.data.staging import MARK, Staging
from airflow_approvals.errors import DataError
from tests.data.evil_fs import FreshMemory, attached


def _publish(target: str | Path) -> None:
    with Staging(Place.of(str(target))) as staging:
        staging.partial.child("deep/done.json").write_bytes(b"{}")
        staging.publish(last="deep/done.json")


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("mark", [None, b"incomplete", b"", MARK + b"and more"])
def test_partial_folder_of_somebody_else_stays(tmp_path: Path, mark: bytes | None) -> None:
    (tmp_path / "out.partial/deep").mkdir(parents=True)
    (tmp_path / "out.partial/deep/theirs.txt").write_text("precious")
    if mark is not None:
        (tmp_path / "out.partial/_incomplete").write_bytes(mark)
    before = _tree(tmp_path)
    with pytest.raises(DataError, match=r"out\.partial is in the way.*Choose another target, or move"):
        _publish(tmp_path / "out")
    assert _tree(tmp_path) == before


def test_partial_file_of_somebody_else_stays(tmp_path: Path) -> None:
    (tmp_path / "out.partial").write_text("precious")
    with pytest.raises(DataError, match=r"out\.partial is in the way"):
        _publish(tmp_path / "out")
    assert _tree(tmp_path) == {"out.partial": b"precious"}


@pytest.mark.parametrize("mark", [b"incomplete", MARK])
def test_target_on_a_disk_stays_whatever_is_in_it(tmp_path: Path, mark: bytes) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/theirs.txt").write_text("precious")
    (tmp_path / "out/_incomplete").write_bytes(mark)
    before = _tree(tmp_path)
    with pytest.raises(DataError, match="exists already"):
        _publish(tmp_path / "out")
    assert _tree(tmp_path) == before


def test_target_of_somebody_else_on_an_object_store_stays() -> None:
    with attached(FreshMemory) as fs:
        fs.pipe_file("/bucket/out/theirs.txt", b"precious")
        fs.pipe_file("/bucket/out/_incomplete", b"incomplete")
        fs.pipe_file("/bucket/other.partial/theirs.txt", b"precious")
        with pytest.raises(DataError, match="exists already"):
            _publish("fresh://bucket/out")
        with pytest.raises(DataError, match=r"other\.partial is in the way"):
            _publish("fresh://bucket/other")
        assert len(fs.find("/bucket")) == 3


def test_our_stale_attempts_are_removed(tmp_path: Path) -> None:
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial/_incomplete").write_bytes(MARK)
    (tmp_path / "out.partial/stale.txt").write_text("left over")
    _publish(tmp_path / "out")
    assert _tree(tmp_path) == {"out/deep/done.json": b"{}"}
    assert not (tmp_path / "out.partial").exists()
    with attached(FreshMemory) as fs:
        for folder in ("out", "out.partial"):
            fs.pipe_file(f"/bucket/{folder}/_incomplete", MARK)
            fs.pipe_file(f"/bucket/{folder}/stale.txt", b"left over")
        _publish("fresh://bucket/out")
        assert fs.find("/bucket") == ["/bucket/out/deep/done.json"]


@pytest.mark.parametrize("mark", [None, b""])
def test_attempt_killed_before_its_mark_is_not_in_the_way(tmp_path: Path, mark: bytes | None) -> None:
    (tmp_path / "out.partial").mkdir()
    if mark is not None:
        (tmp_path / "out.partial/_incomplete").write_bytes(mark)
    _publish(tmp_path / "out")
    assert _tree(tmp_path) == {"out/deep/done.json": b"{}"}


def test_mark_goes_last_so_that_a_kill_while_removing_leaves_it_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place.of(str(tmp_path / "out"))
    removed: list[object] = []
    remove = type(place.fs).rm
    monkeypatch.setattr(
        type(place.fs), "rm", lambda fs, path, **kwargs: (removed.append(path), remove(fs, path, **kwargs))
    )
    with Staging(place) as staging:
        staging.partial.child("a.txt").write_bytes(b"x")
    assert removed == [[f"{tmp_path}/out.partial/a.txt"], f"{tmp_path}/out.partial"]
