"""Both example DAGs on a real Airflow with a real Slack channel, as the demo plays them.

What the demo says at its end is checked here with other means: the bucket is hashed by this
file, and the ledger is verified by the command.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import demo
import psutil
import pytest
from demo_world import PROJECT, World

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("mission"))
    try:
        world.prepare()
        world.start()
        yield world
    finally:
        world.stop()


@pytest.fixture(scope="module")
def closing_line(world: World) -> str:
    return demo.play(world)


def test_the_closing_line_is_earned(world: World, closing_line: str) -> None:
    said = re.fullmatch(r"demo: released (\d+) objects, ledger verified \((\d+) entries\)", closing_line)
    assert said is not None
    files = [path for path in world.bucket.rglob("*") if path.is_file() and path.name != "_receipt.json"]
    manifests = [json.loads(path.read_text()) for path in world.masked.rglob("_manifest.json")]
    approved = sorted(one["sha256"] for manifest in manifests for one in manifest["objects"])
    sent = sorted("sha256:" + hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
    assert sent == approved
    assert len(sent) == int(said[1]) == 2
    with closing(sqlite3.connect(world.room / "airflow" / "airflow.db")) as database:
        (entries,) = database.execute("SELECT count(*) FROM approvals_ledger").fetchone()
    assert entries == int(said[2])


def test_the_releases_needed_no_second_try(world: World, closing_line: str) -> None:
    with world.airflow.client("alice") as client:
        path = f"/api/v2/dags/{demo.DAG}/dagRuns/~/taskInstances"
        found = client.get(path).raise_for_status().json()["task_instances"]
    tries = {one["task_id"]: one["try_number"] for one in found if one["task_id"].endswith("release")}
    assert tries == {"tickets.release": 1, "logs.release": 1}


def test_no_raw_value_was_released(world: World, closing_line: str) -> None:
    """Every e-mail address and every key of the raw data is gone from the released copies."""
    raw = "".join(
        (PROJECT / "dags" / "data" / name).read_text() for name in ("tickets.csv", "application.log")
    )
    addresses = set(re.findall(r"[\w.+-]+@[\w-]+\.[a-z]{2,}", raw))
    assert len(addresses) > 100
    released = "".join(path.read_text() for path in world.bucket.rglob("*") if path.is_file())
    assert [address for address in addresses if address in released] == []


def test_no_triggerer_was_there(world: World, closing_line: str) -> None:
    commands = [" ".join(one.cmdline()) for one in psutil.Process().children(recursive=True)]
    assert any("scheduler" in command for command in commands)
    assert not [command for command in commands if "triggerer" in command]


def test_an_edited_entry_is_named(world: World, closing_line: str, tmp_path: Path) -> None:
    copy = tmp_path / "edited.db"
    original = world.room / "airflow" / "airflow.db"
    with closing(sqlite3.connect(original)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    assert _verify(world, copy).returncode == 0
    with closing(sqlite3.connect(copy)) as database:
        triggers = database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'approvals_ledger'"
        ).fetchall()
        assert triggers
        for (name,) in triggers:
            database.execute(f'DROP TRIGGER "{name}"')
        (body,) = database.execute("SELECT body FROM approvals_ledger WHERE seq = 3").fetchone()
        edited = body.replace(b'"v":1', b'"v":2')
        assert edited != body
        database.execute("UPDATE approvals_ledger SET body = ? WHERE seq = 3", (edited,))
        database.commit()
    done = _verify(world, copy)
    assert done.returncode != 0
    assert re.search(r"\b3\b", done.stdout + done.stderr)


def test_a_retraining_starts_through_its_protected_connection(world: World) -> None:
    run_id = world.airflow.trigger("gated_retraining", "alice")
    world.airflow.wait_for_task("gated_retraining", run_id, "gate", "awaiting_input", timeout=150)
    message = world.airflow.wait_for(lambda: demo.open_messages(world.slack), 60, "a Slack message")[0]
    assert not world.jobs.exists()
    demo.press_in(world, "bob", message)
    world.airflow.wait_for_run("gated_retraining", run_id, timeout=90)
    jobs = [json.loads(line) for line in world.jobs.read_text().splitlines()]
    assert len(jobs) == 1
    manifest = json.loads(Path(jobs[0]["manifest"]["uri"].removeprefix("file://")).read_text())
    assert manifest["objects"]
    assert jobs[0]["grant"].count(".") == 2


def _verify(world: World, database: Path) -> subprocess.CompletedProcess[str]:
    """Run the command against a copy of the database."""
    return subprocess.run(
        [sys.executable, "-m", "airflow", "approvals", "ledger", "verify"],
        env={**world.airflow.environment, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}"},
        cwd=os.fspath(database.parent),
        capture_output=True,
        text=True,
        check=False,
    )
