"""Tasks that report another data than there is, and data that changes under its approval."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from airflow_approvals.control.signing import generate_key_file
from tests.adversary.world import Scene, World

pytestmark = pytest.mark.live

#: Test -> what the run lies about, and what it asks for.
LIES = {
    "evidence": {"lie": "evidence", "action": "export"},
    "manifest": {"lie": "manifest", "action": "export"},
    "later": {"lie": "nothing", "action": "publish"},
}


@pytest.fixture(scope="module")
def custodian(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[psutil.Process]:
    """A custodian whose sink is a folder."""
    room = tmp_path_factory.mktemp("custodian")
    (world.home / "custody").mkdir()
    with (room / "custodian.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", "approvals", "custodian"],
            env={**world.airflow.environment, **secrets_of_the_custodian(world, room)},
            cwd=world.home,
            stdout=log,
            stderr=log,
        )
    said = room / "custodian.log"
    world.until(lambda: "serves sink_c" in said.read_text() or process.poll() is not None, "it serves")
    assert process.poll() is None, said.read_text()
    yield psutil.Process(process.pid)
    process.terminate()
    assert process.wait(timeout=120) == 0


def secrets_of_the_custodian(world: World, room: Path) -> dict[str, str]:
    generate_key_file(room / "custodian.pem")
    connections = room / "connections.json"
    with os.fdopen(os.open(connections, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        json.dump({"sink_c": "generic://somebody:hunter2@sink.invalid"}, file)
    return {
        "AIRFLOW__APPROVALS__CUSTODIAN_KEY_FILE": str(room / "custodian.pem"),
        "AIRFLOW__APPROVALS__CUSTODIAN_SOURCES": str(world.home / "room"),
        "AIRFLOW__APPROVALS__CUSTODIAN_CONNECTIONS_FILE": str(connections),
    }


@pytest.fixture(scope="module")
def lies(world: World, custodian: psutil.Process) -> dict[str, Scene]:
    """All runs at once, started when there is a custodian to check them."""
    return {name: world.new("staged", "rita", **conf) for name, conf in LIES.items()}


def sent(world: World) -> list[Path]:
    return [path for path in (world.home / "custody").rglob("*") if path.is_file()]


def test_evidence_that_is_made_up(world: World, lies: dict[str, Scene]) -> None:
    """The task reports a public line; the custodian finds a person in it."""
    run = lies["evidence"]
    run.until_entry("evidence_refuted")
    assert run.finish() == "failed"
    assert run.request()["state"] == "forbidden"
    assert run.world.vote(run.request()["id"], "bob").status_code == 409
    assert sent(world) == []


def test_a_manifest_of_other_data(world: World, lies: dict[str, Scene]) -> None:
    """The manifest describes a harmless line; what is staged is another."""
    run = lies["manifest"]
    run.until_entry("evidence_refuted")
    assert run.finish() == "failed"
    assert run.request()["state"] == "forbidden"
    assert sent(world) == []


def test_a_byte_that_changes_after_the_approval(
    world: World, lies: dict[str, Scene], custodian: psutil.Process
) -> None:
    run = lies["later"]
    run.until_state("gate", "awaiting_input")
    data = world.home / "room" / "staged" / run.run_id.replace(":", "_").replace("+", "_") / "lines.txt"
    with suspended(custodian):
        run.approve()
        data.write_bytes(data.read_bytes().replace(b"0147", b"0148"))
    run.until_entry("release_failed")
    assert run.finish() == "failed"
    assert sent(world) == []
    assert run.entries("release_published") == []


@contextmanager
def suspended(process: psutil.Process) -> Iterator[None]:
    process.suspend()
    try:
        yield
    finally:
        process.resume()


@pytest.mark.scene("unknown_data")
def test_a_manifest_of_data_nobody_has(scene: Scene) -> None:
    """Nobody is even asked."""
    assert scene.finish() == "failed"
    assert scene.calls() == []
    assert scene.entries("request_registered") == []
