"""Every example DAG on a real Airflow with a real Slack channel; the first as the demo plays it.

What the demo says at its end is checked here with other means: the bucket is hashed by this
file, and the ledger is verified by the command. The other examples run in the same world after it.
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
from typing import Any

import demo
import psutil
import pytest
from demo_world import AGENT, PROJECT, World

pytestmark = pytest.mark.live
REQUESTS = "/approvals/api/v1/requests"


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
    commands = [command_of(one) for one in psutil.Process().children(recursive=True)]
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
    world.airflow.wait_for_task("gated_retraining", run_id, "gate", "awaiting_input", timeout=600)
    message = world.airflow.wait_for(lambda: demo.open_messages(world.slack), 300, "a Slack message")[0]
    assert not world.jobs.exists()
    demo.approve_in(world, "bob", message)
    world.airflow.wait_for_run("gated_retraining", run_id, timeout=600)
    jobs = jobs_with(world, "manifest")
    assert len(jobs) == 1
    manifest = json.loads(Path(jobs[0]["manifest"]["uri"].removeprefix("file://")).read_text())
    assert manifest["objects"]
    assert jobs[0]["grant"].count(".") == 2


@pytest.fixture(scope="module")
def three_runs(world: World) -> dict[str, str]:
    """DAG to run of the examples that need two people, all on their way at once.

    An agent asks for the one by our API, alice starts another, and the scheduler starts the
    third, after alice has let it.
    """
    for dag_id in ("privilege_escalation", "infrastructure_change", "dataset_refresh"):
        world.airflow.wait_for_dag(dag_id)
    assert world.airflow.import_errors() == {}
    with world.airflow.client(AGENT) as agent, world.airflow.client("alice") as alice:
        body = {"dag_id": "privilege_escalation", "conf": {"account": "svc-report", "role": "db-admin"}}
        asked = agent.post(REQUESTS, json=body, headers={"Idempotency-Key": "ticket 7"}).raise_for_status()
        unpaused = alice.patch("/api/v2/dags/dataset_refresh", json={"is_paused": False})
        unpaused.raise_for_status()
    change = {"service": "search", "machines": 6}
    return {
        "privilege_escalation": asked.json()["run_id"],
        "infrastructure_change": world.airflow.trigger("infrastructure_change", "alice", change),
        "dataset_refresh": world.airflow.wait_for(lambda: scheduled_run(world), 300, "a scheduled run"),
    }


def test_an_agent_asks_and_two_people_decide(world: World, three_runs: dict[str, str]) -> None:
    dag_id, run_id = "privilege_escalation", three_runs["privilege_escalation"]
    request = asked_for(world, dag_id, run_id)
    assert {one["name"] for one in request["requesters"]} == {AGENT}
    assert vote(world, request, AGENT)[:2] == (403, "service_account")
    assert vote(world, request, "bob")[2] == "pending"
    assert vote(world, request, "bob")[2] == "pending", "one person is one vote"
    assert jobs_with(world, "account") == []
    assert vote(world, request, "carol")[2] == "approved"
    world.airflow.wait_for_run(dag_id, run_id)
    assert jobs_with(world, "account") == [{"account": "svc-report", "role": "db-admin", "hours": 4}]


def test_a_change_of_machines_waits_for_two_who_did_not_ask(world: World, three_runs: dict[str, str]) -> None:
    dag_id, run_id = "infrastructure_change", three_runs["infrastructure_change"]
    request = asked_for(world, dag_id, run_id)
    assert vote(world, request, "alice")[:2] == (403, "self_approval")
    assert vote(world, request, "bob")[2] == "pending"
    assert jobs_with(world, "machines") == []
    assert vote(world, request, "carol")[2] == "approved"
    world.airflow.wait_for_run(dag_id, run_id)
    assert jobs_with(world, "machines") == [{"service": "search", "machines": 6}]


def test_a_scheduled_refresh_is_nobodys_and_two_people_decide(
    world: World, three_runs: dict[str, str]
) -> None:
    dag_id, run_id = "dataset_refresh", three_runs["dataset_refresh"]
    request = asked_for(world, dag_id, run_id)
    assert request["unattributed"] is True
    assert {one["why"] for one in request["requesters"] if one["name"] == "alice"} == {
        "unpaused the DAG since its last run"
    }
    assert vote(world, request, "alice")[:2] == (403, "self_approval")
    assert vote(world, request, "bob")[2] == "pending"
    before = set(world.bucket.rglob("*"))
    assert vote(world, request, "carol")[2] == "approved"
    world.airflow.wait_for_run(dag_id, run_id)
    sent = [path.name for path in set(world.bucket.rglob("*")) - before if path.is_file()]
    assert sorted(sent) == ["_receipt.json", "tickets.csv"]


def scheduled_run(world: World) -> str | None:
    """The newest run that the scheduler made of the nightly refresh."""
    with world.airflow.client("alice") as client:
        found = client.get("/api/v2/dags/dataset_refresh/dagRuns").raise_for_status().json()["dag_runs"]
    return found[-1]["dag_run_id"] if found else None


def asked_for(world: World, dag_id: str, run_id: str) -> dict[str, Any]:
    """The run's request in full, once its gate has parked and the server knows it."""
    world.airflow.wait_for_task(dag_id, run_id, "gate", "awaiting_input", timeout=600)
    with world.airflow.client("carol") as client:

        def find() -> list[dict[str, Any]]:
            return list(client.get(REQUESTS, params={"run_id": run_id}).json()["requests"])

        (found,) = world.airflow.wait_for(find, 300, "the request to be registered")
        return dict(client.get(f"{REQUESTS}/{found['id']}").raise_for_status().json())


def vote(world: World, request: dict[str, Any], user: str) -> tuple[int, str | None, str | None]:
    """Approve with the user's token; return status, code of the refusal, and state after it."""
    body = {"verdict": "approve", "reason": "agreed in the change board"}
    with world.airflow.client(user) as client:
        answer = client.post(f"{REQUESTS}/{request['id']}/votes", json=body)
    said = answer.json()
    return answer.status_code, said.get("code"), said.get("state")


def jobs_with(world: World, key: str) -> list[dict[str, Any]]:
    """What the little service was told to do, of the kind that has this key."""
    lines = world.jobs.read_text().splitlines() if world.jobs.exists() else []
    return [job for job in map(json.loads, lines) if key in job]


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


def command_of(process: psutil.Process) -> str:
    """The command line of a process, empty once it has ended: a worker ends at any moment."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
