"""The task says where the data lies; the custodian reads below its operator's folders only."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_approvals.config.settings import Settings
from airflow_approvals.core.classification import Label
from airflow_approvals.custody.process import Custodian
from airflow_approvals.custody.sources import OUTSIDE, Sources
from airflow_approvals.data.confined import NOT_PLAIN
from airflow_approvals.errors import ConfigurationError, ForbiddenSourceError
from tests.custody.conftest import Custody
from tests.custody.test_releasing import failed_because
from tests.custody.test_verifying import refuted


def sources(*prefixes: str) -> Sources:
    return Sources.of(Settings(custodian_sources=prefixes))


def test_without_the_list_the_custodian_does_not_start(custody: Custody) -> None:
    custody.airflow.conf("custodian_sources", "")
    with pytest.raises(ConfigurationError, match="custodian_sources is not set"):
        Custodian(Settings.load())


@pytest.mark.parametrize(
    "prefix",
    [
        "/",
        "file:///",
        "stage",
        "~/stage",
        "/srv/../etc",
        "s3://",
        "s3://*/x?",
        "s3://key:hunter2@bucket/x",
        "s3://bucket/../x",
        "s3://bucket/a//b",
        "S3://bucket/a",
    ],
)
def test_a_prefix_without_a_clear_end_is_refused_unquoted(prefix: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        sources(prefix)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://sink_c@bucket/stage/_manifest.json",
        "s3://bucket/stage/_manifest.json",
        "s3://reader@bucket/stagecraft/_manifest.json",
        "s3://reader@bucket/stage/../secrets/_manifest.json",
        "s3://reader@bucket/stage/%2e%2e/_manifest.json",
        "s3://reader@bucket/stage/x::file:///etc/passwd",
        "simplecache::s3://reader@bucket/stage/_manifest.json",
        "gs://reader@bucket/stage/_manifest.json",
        "S3://reader@bucket/stage/_manifest.json",
        "FILE:///srv/stage/_manifest.json",
        "local:///etc/passwd",
        "/etc/passwd",
        "file:///etc/passwd",
        "~/.ssh/id_ed25519",
        "file://~/.ssh/id_ed25519",
        "_manifest.json",
        "/srv/stage",
        "/srv/stagecraft/_manifest.json",
        "/srv/stage/../../etc/passwd",
        "/srv/stage/\0",
        "",
    ],
)
def test_elsewhere_is_refused_without_opening_anything(uri: str) -> None:
    with pytest.raises(ForbiddenSourceError) as caught:
        sources("s3://reader@bucket/stage/", "/srv/stage").open(uri)
    assert caught.value.message == OUTSIDE


def test_paths_are_resolved_before_they_are_compared(tmp_path: Path) -> None:
    (tmp_path / "stage" / "run").mkdir(parents=True)
    (tmp_path / "stage" / "run" / "_manifest.json").write_bytes(b"{}")
    (tmp_path / "way").symlink_to(tmp_path / "stage")
    asked = sources(f"file://{tmp_path}/way").open(f"{tmp_path}/stage/other/../run/_manifest.json")
    assert asked.read_bytes(10) == b"{}"
    (tmp_path / "stage" / "run" / "a").write_bytes(b"a")
    assert asked.parent.child("a").read_bytes(10) == b"a"


def lay_link(custody: Custody, name: str) -> None:
    """What an author does who wants a file of the custodian's: it has the right digest, but is not theirs."""
    secret = custody.folder / f"secret-{Path(name).name}"
    (custody.staged / name).rename(secret)
    (custody.staged / name).symlink_to(secret)


def lay_linked_folder(custody: Custody) -> None:
    (custody.staged / "deep").rename(custody.folder / "elsewhere")
    (custody.staged / "deep").symlink_to(custody.folder / "elsewhere")


def lay_pipe(custody: Custody) -> None:
    (custody.staged / "a.txt").unlink()
    os.mkfifo(custody.staged / "a.txt")


TRICKS: dict[str, Callable[[Custody], None]] = {
    "object": lambda custody: lay_link(custody, "a.txt"),
    "manifest": lambda custody: lay_link(custody, "_manifest.json"),
    "folder": lay_linked_folder,
    "pipe": lay_pipe,
}


@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS)
def test_nothing_but_plain_files_is_verified(custody: Custody, trick: Callable[[Custody], None]) -> None:
    run, request = custody.asked("checked", Label.RESTRICTED)
    trick(custody)
    custody.work()
    assert refuted(custody, run, request.id) == NOT_PLAIN


@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS)
def test_nothing_but_plain_files_is_released(custody: Custody, trick: Callable[[Custody], None]) -> None:
    run, request = custody.approved()
    trick(custody)
    custody.work()
    assert failed_because(custody, run, request).startswith(NOT_PLAIN)


def test_data_outside_is_neither_verified_nor_released(custody: Custody) -> None:
    run, request = custody.asked("checked", Label.RESTRICTED)
    other, released = custody.approved()
    custody.airflow.conf("custodian_sources", str(custody.folder / "somewhere"))
    custody.work()
    assert refuted(custody, run, request.id) == OUTSIDE
    assert failed_because(custody, other, released).startswith(OUTSIDE)


def test_a_linked_folder_leads_outside(custody: Custody) -> None:
    custody.airflow.conf("custodian_sources", str(custody.folder / "allowed"))
    (custody.folder / "allowed").mkdir()
    (custody.folder / "allowed" / "run").symlink_to(custody.staged)
    ask = custody.ask(custody.stage(), "checked", Label.RESTRICTED)
    uri = (custody.folder / "allowed" / "run" / "_manifest.json").as_uri()
    run = custody.airflow.a_run()
    request = run.ask(replace(ask, data=replace(ask.data, uri=uri)))
    custody.work()
    assert refuted(custody, run, request.id) == OUTSIDE
