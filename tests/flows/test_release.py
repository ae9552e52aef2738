"""The release: what was approved leaves, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_approvals.core.digest import sha256_digest
from tests.flows.gated import Gated

pytestmark = pytest.mark.live


def copy_of(gated: Gated, run_id: str) -> Path:
    return gated.home / "room" / run_id.replace(":", "_").replace("+", "_") / "copy" / "lines.txt"


def released(gated: Gated, request: dict) -> list[Path]:
    short = request["manifest_digest"].removeprefix("sha256:")[:16]
    return sorted(path for path in (gated.home / "sink").glob(f"{short}*/**/*.txt"))


def test_the_approved_bytes_leave_once_with_a_receipt(gated: Gated) -> None:
    run_id = gated.ask("released")
    request = gated.request(run_id)
    gated.vote(request["id"], "bob")
    assert gated.finish("released", run_id) == "success"
    (sent,) = released(gated, request)
    approved = request["ask"]["manifest"]["objects"][0]["sha256"]
    assert sha256_digest(sent.read_bytes()) == approved
    assert list(sent.parent.glob("_receipt.json"))


def test_one_changed_byte_after_the_approval_releases_nothing(gated: Gated) -> None:
    run_id = gated.ask("released")
    request = gated.request(run_id)
    masked = copy_of(gated, run_id)
    masked.write_bytes(masked.read_bytes().replace(b"masked", b"Masked"))
    before = released(gated, request)
    gated.vote(request["id"], "bob")
    assert gated.finish("released", run_id) == "failed"
    assert released(gated, request) == before
    assert gated.state("released", run_id, "release") == "failed"
    assert not list((gated.home / "sink").glob("**/*partial*"))
