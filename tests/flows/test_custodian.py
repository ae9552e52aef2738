"""Content-bound, through a real Airflow and a custodian process: approve, and the file is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_approvals.control.signing import generate_key_file
from airflow_approvals.core.digest import sha256_digest
from tests.flows.gated import Gated

pytestmark = pytest.mark.live

PASSWORD = "hunter2-of-the-custodian-process"


@pytest.fixture
def custodian(gated: Gated, tmp_path: Path) -> Iterator[None]:
    """A custodian whose secrets no other process is told of."""
    (gated.home / "sink-of-the-custodian").mkdir(exist_ok=True)
    generate_key_file(tmp_path / "custodian.pem")
    file = tmp_path / "connections.json"
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), "w") as written:
        json.dump({"sink_c": f"generic://somebody:{PASSWORD}@sink.invalid"}, written)
    options = {
        "AIRFLOW__APPROVALS__CUSTODIAN_KEY_FILE": str(tmp_path / "custodian.pem"),
        "AIRFLOW__APPROVALS__CUSTODIAN_SOURCES": str(gated.home / "room"),
        "AIRFLOW__APPROVALS__CUSTODIAN_CONNECTIONS_FILE": str(file),
    }
    with (tmp_path / "custodian.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", "approvals", "custodian"],
            env={**gated.airflow.environment, **options},
            cwd=gated.home,
            stdout=log,
            stderr=log,
        )
    said = tmp_path / "custodian.log"
    gated.until(lambda: "running, serves sink_c" in said.read_text() or process.poll() is not None, "it runs")
    assert process.poll() is None, said.read_text()
    yield
    process.terminate()
    assert process.wait(timeout=120) == 0
    assert PASSWORD not in said.read_text()


def test_approved_bytes_appear_and_no_task_gets_the_credential(gated: Gated, custodian: None) -> None:
    run_id = gated.ask("custody")
    request = gated.request(run_id)
    gated.until(lambda: gated.entries(kind="evidence_verified", run_id=run_id), "the custodian has looked")
    assert gated.vote(request["id"], "bob").status_code == 200
    assert gated.finish("custody", run_id) == "success"

    sink = gated.home / "sink-of-the-custodian"
    (sent,) = [path for path in sink.glob("*/lines.txt") if not path.parent.name.endswith(".partial")]
    assert sha256_digest(sent.read_bytes()) == request["ask"]["manifest"]["objects"][0]["sha256"]
    kinds = [entry["kind"] for entry in gated.entries(run_id=run_id)]
    assert [kind for kind in kinds if kind.startswith("release_")] == [
        "release_intended",
        "release_published",
    ]

    spied = gated.home / "room" / "spied" / run_id.replace(":", "_").replace("+", "_")
    assert spied.read_text().startswith("refused: ")
    assert PASSWORD not in spied.read_text()
    assert len(gated.entries(kind="credential_refused", run_id=run_id)) >= 1
    assert gated.entries(kind="credential_handed_out", run_id=run_id) == []
