"""Each ring alone, with the other two taken out; and the same attack with all three out, which works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest

from tests.adversary.sinks import Sink
from tests.adversary.world import HERE, Scene, World, deploy
from tests.enforcement.ring_switches import RINGS, only, rings_off

pytestmark = pytest.mark.live

WORLDS = {"start": only("start"), "credential": only("credential"), "none": rings_off(*RINGS)}
#: Which DAGs run where; all are started before the first test.
RUNS = {
    "start": ("plain", "no_gate"),
    "credential": ("plain", "no_gate", "lenient"),
    "none": ("plain", "no_gate", "lenient", "careless"),
}
IMPORT_ERRORS = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
print(json.dumps({"dags": sorted(bag.dags), "errors": list(bag.import_errors.values())}))
"""


class Worlds:
    """One deployment by the ring that is left, and one run of each DAG in it."""

    def __init__(self, worlds: Mapping[str, World]) -> None:
        self.worlds = worlds
        self._runs = {
            (left, dag_id): world.new(dag_id, "rita")
            for left, world in worlds.items()
            for dag_id in RUNS[left]
        }

    def run(self, left: str, dag_id: str) -> Scene:
        return self._runs[left, dag_id]


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    """Three deployments side by side: preparing one is mostly waiting for its processes."""
    with ExitStack() as stack:
        started: dict[str, World] = {}
        for left, rings in WORLDS.items():
            sinks = (stack.enter_context(Sink()), stack.enter_context(Sink()))
            home = tmp_path_factory.mktemp(f"only-{left}")
            shutil.copytree(HERE / "dags", home / "dags")
            shutil.copy(HERE / "careless" / "careless.py", home / "dags")
            airflow = deploy(home, sinks, environment=rings, dags=home / "dags")
            stack.callback(airflow.stop)
            airflow.start()
            started[left] = World(airflow, home, sinks)
        for world in started.values():
            world.airflow.wait_healthy()
        yield Worlds(started)


def mark_success(scene: Scene) -> None:
    scene.until_state("gate", "awaiting_input")
    scene.request()
    answer = scene.call("PATCH", "/taskInstances/gate", json={"new_state": "success"})
    assert answer.status_code == 200, answer.text


def test_start_ring_alone(worlds: Worlds) -> None:
    """A gate that is marked successful."""
    bare, ringed = worlds.run("none", "plain"), worlds.run("start", "plain")
    for scene in (bare, ringed):
        mark_success(scene)
    assert bare.finish() == "success"
    assert bare.calls() == ["use"], "without a ring the attack works"
    assert ringed.finish() == "failed"
    assert ringed.calls() == []
    assert ringed.entries("start_refused", task_id="use")
    assert ringed.entries("run_overridden", actor="rita", task_id="gate")


def test_credential_ring_alone(worlds: Worlds) -> None:
    """Code that opens the Connection and stands behind no gate: nothing for the start ring to judge."""
    bare, elsewhere = worlds.run("none", "no_gate"), worlds.run("start", "no_gate")
    ringed = worlds.run("credential", "no_gate")
    for scene in (bare, elsewhere):
        assert scene.finish() == "success"
        assert scene.calls() == ["use"], "without this ring the attack works"
    assert ringed.finish() == "failed"
    assert ringed.calls() == []
    assert ringed.entries("credential_refused", task_id="use")


def test_credential_ring_alone_behind_a_marked_gate(worlds: Worlds) -> None:
    """The task behind the gate starts, and the Connection stays shut."""
    ringed = worlds.run("credential", "plain")
    mark_success(ringed)
    assert ringed.finish() == "failed"
    assert ringed.calls() == []
    assert ringed.entries("start_refused") == []
    assert ringed.entries("credential_refused", task_id="use")


def test_credential_ring_alone_against_trigger_rules(worlds: Worlds) -> None:
    """A release that waits for nothing, while the gate is parked."""
    bare, ringed = worlds.run("none", "lenient"), worlds.run("credential", "lenient")
    bare.until_state("at_once", "success")
    assert bare.calls() == ["at_once"], "without a ring the attack works"
    ringed.until_entry("credential_refused", task_id="at_once")
    ringed.until_state("at_once", "failed")
    assert ringed.calls() == []


def test_credential_ring_alone_against_code_that_is_parsed(worlds: Worlds) -> None:
    """Code at the top of a DAG file, in the DAG processor, before any run."""
    bare, ringed = worlds.worlds["none"], worlds.worlds["credential"]
    for world in (bare, ringed):
        world.until((world.home / "room" / "prying.txt").exists, "the file is parsed")
    assert bare.sinks[0].calls("top-level-code"), "without a ring the attack works"
    assert ringed.sinks[0].calls("top-level-code") == []
    assert ringed.until(
        lambda: ringed.entries(kind="credential_refused", process="dag-processor"), "it is entered"
    )


def test_flow_ring_alone(worlds: Worlds) -> None:
    """The DAG of an author who forgot the gate does not import."""
    bare = worlds.run("none", "careless")
    assert bare.finish() == "success"
    assert bare.calls() == ["use"], "without a ring the release happens"
    found = imported(bare.world, only("flow"))
    assert found["dags"] == []
    assert "sink_a" in found["errors"][0]
    assert "ApprovalSensor" in found["errors"][0]
    assert imported(bare.world, WORLDS["none"]) == {"dags": ["careless"], "errors": []}


def imported(world: World, rings: Mapping[str, str]) -> dict[str, list[str]]:
    """Load the careless DAG as that deployment's parser does, with these rings."""
    environment = {**os.environ, **world.airflow.environment, **rings}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ERRORS, str(HERE / "careless")],
        env=environment,
        cwd=world.home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found
