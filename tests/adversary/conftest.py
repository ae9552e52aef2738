"""One shared deployment per database, with every run of the suite started up front.

In CI everything runs on SQLite and what is marked ``core`` on PostgreSQL too; with
``APPROVALS_SOAK=1`` everything runs on both.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.adversary import worker_hosts
from tests.adversary.by_hand import tried
from tests.adversary.sinks import Sink
from tests.adversary.world import ATTACKERS, HERE, Asked, Scene, World, deploy
from tests.conftest import _new_postgres_database
from tests.live.airflow_processes import START_SECONDS

SOAK = os.environ.get("APPROVALS_SOAK") == "1"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose databases, and kinds of attackers where the test asks for ``attacker``."""
    if "world" in metafunc.fixturenames:
        core = metafunc.definition.get_closest_marker("core") is not None
        databases = ["sqlite", "postgresql"] if core or SOAK else ["sqlite"]
        marks = [pytest.mark.soak] if SOAK else []
        worlds = [pytest.param(database, marks=marks) for database in databases]
        metafunc.parametrize("world", worlds, indirect=True, scope="package")
    if "attacker" in metafunc.fixturenames:
        metafunc.parametrize("attacker", ATTACKERS)


@pytest.fixture(scope="package")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The shared deployment on one database, started, with all runs under way."""
    database = str(request.param)
    # A database of its own: other suites on the same worker share one.
    server = None if database == "sqlite" else request.getfixturevalue("postgres_server")
    url = "sqlite" if server is None else _new_postgres_database(server)
    home = tmp_path_factory.mktemp(f"adversary-{database}")
    with ExitStack() as stack:
        sinks = (stack.enter_context(Sink()), stack.enter_context(Sink()))
        # DAGs of its own, because some tests edit them.
        shutil.copytree(HERE / "dags", home / "dags")
        worker_hosts.install(home, HERE / "extras")
        config = {"core.executor": worker_hosts.EXECUTORS, "core.min_serialized_dag_update_interval": "2"}
        airflow = deploy(home, sinks, database=url, dags=home / "dags", config=config)
        hosts = stack.enter_context(worker_hosts.hosts(airflow, sinks[1], database=url))
        stack.callback(airflow.stop)
        world = World(airflow, home, sinks)
        world.hosts = hosts
        # No task runs while the runs are made: Airflow writes its log on the API server's event loop,
        # and on SQLite that waits in vain for a task's commit, which waits for the same loop.
        airflow.start_api_servers()
        airflow.start_dag_processor()
        airflow.wait_for(airflow.answers, START_SECONDS, "the api-server to answer")
        world.prepare(_wanted(request.session.items, database))
        if any("shell" in item.fixturenames for item in request.session.items):
            # No scheduler yet: ``tasks test`` makes a run and deletes it again, and Airflow's scheduler
            # ends when that happens under its hands.
            world.shell = tried(airflow)
        airflow.start()
        airflow.wait_healthy()
        yield world
        leaked = {run for sink in sinks for run in sink.runs()} - world.meant
        assert leaked == set(), "runs that nobody approved have released something"


@pytest.fixture(scope="package")
def shell(world: World) -> dict[str, str]:
    """What commands at the server's shell print."""
    return world.shell


@pytest.fixture
def scene(world: World, request: pytest.FixtureRequest) -> Scene:
    """The run that the test's ``scene`` marker describes."""
    asked = _asked(request.node)
    assert asked is not None, "mark the test with @pytest.mark.scene(dag_id, ...)"
    return world.scene(request.node.name, asked)


@pytest.fixture
def parked(scene: Scene) -> Scene:
    """The run, once its gate is parked and its request registered."""
    scene.until_state("gate", "awaiting_input")
    scene.request()
    return scene


def _wanted(items: list[pytest.Item], database: str) -> Iterator[tuple[str, Asked]]:
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        asked = _asked(item)
        if parameters.get("world") == database and asked is not None:
            yield asked.shared or item.name, asked


def _asked(item: pytest.Item) -> Asked | None:
    """Return what the marker says: ``@pytest.mark.scene("plain", user="rita", shared="x", sink="sink-b")``.

    Where a test is parametrised by attacker, that attacker starts the run.
    """
    marker = item.get_closest_marker("scene")
    if marker is None:
        return None
    conf = dict(marker.kwargs)
    user, shared = conf.pop("user", "rita"), conf.pop("shared", "")
    kind = getattr(getattr(item, "callspec", None), "params", {}).get("attacker")
    return Asked(marker.args[0], ATTACKERS.get(kind, user), tuple(sorted(conf.items())), shared)
