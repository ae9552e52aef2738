"""Code in other processes than a task's: the DAG processor, the triggerer, the CLI, another worker."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.adversary.world import Scene, World
from tests.live.process_groups import start_process

pytestmark = pytest.mark.live


def refused_in(world: World, process: str) -> list[dict[str, Any]]:
    return world.entries(kind="credential_refused", process=process)


@pytest.mark.core
def test_code_at_the_top_of_a_dag_file(world: World) -> None:
    """The DAG processor parses it, with a database of its own at hand."""
    said = world.home / "room" / "prying.txt"
    world.until(said.exists, "the file was parsed")
    assert said.read_text().startswith("refused: ")
    assert [sink.calls("top-level-code") for sink in world.sinks] == [[], []]
    assert world.until(lambda: refused_in(world, "dag-processor"), "it is entered")


@pytest.fixture(scope="module")
def triggerer(world: World) -> Iterator[None]:
    """A triggerer, which no gate needs."""
    running = start_process(
        "triggerer",
        ["airflow", "triggerer", "--skip-serve-logs"],
        log=world.home / "process-logs" / "triggerer.log",
        environment=world.airflow.environment,
        cwd=world.home,
    )
    yield
    running.stop()


@pytest.mark.scene("deferred")
def test_a_trigger_in_the_triggerer(scene: Scene, triggerer: None) -> None:
    """The task defers, so that its trigger opens the Connection where no task runs."""
    assert scene.finish() == "success"
    assert (scene.world.home / "room" / "trigger.txt").read_text().startswith("refused: ")
    assert scene.calls() == []
    assert refused_in(scene.world, "triggerer")


def test_airflow_tasks_test(world: World, shell: dict[str, str]) -> None:
    assert "Access denied for connection" in shell["tasks test"], shell["tasks test"]
    assert refused_in(world, "tasks")


def test_airflow_dags_test(world: World, shell: dict[str, str]) -> None:
    """``dag.test()``, as the command runs it."""
    assert "Access denied for connection" in shell["dags test"], shell["dags test"]
    assert refused_in(world, "dags")


def secrets_in(world: World, text: str) -> list[str]:
    """What a worker must not be told, as far as the text tells it."""
    keys = json.loads((world.home / "keys.json").read_text())
    return [secret for secret in (world.airflow.database_url, *keys.values()) if secret in text]


@pytest.mark.scene("elsewhere")
def test_a_worker_that_has_no_secret(scene: Scene) -> None:
    """A gated DAG works where neither database URL nor JWT secret are, and the gate holds there.

    Each task is a process of its own, handed over as ``KubernetesExecutor`` hands over to a pod: its
    workload with its token, another home, configuration and environment. Where the tests run as root
    and an interpreter lets it (see ``worker_hosts``), that process is the user ``nobody``, who cannot
    read the server's files either. It is the same machine and network: what those would stop is not shown.
    """
    host = scene.world.hosts["bare"]
    scene.until_state("beside", "failed")
    found = json.loads((host.home / "room" / "found.json").read_text())
    told = [name for name, value in found["environment"].items() if secrets_in(scene.world, value)]
    assert told == []
    assert found["uid"] == (host.uid or os.getuid())
    if host.uid:
        assert found["readable"] == []
    assert scene.calls() == []
    assert scene.entries("credential_refused", task_id="beside")
    scene.world.meant.add(scene.run_id)
    scene.approve()
    scene.until_state("use", "success")
    assert scene.calls() == ["use"]


def test_the_doctor_finds_nothing_on_that_worker(world: World) -> None:
    """The same host in the doctor's words: nothing critical where tasks run.

    Where the tests have no other user to run it as, the policy's projection is their own file.
    """
    host = world.hosts["bare"]
    assert host.doctor() == (set() if host.uid else {"policy_writable"})
