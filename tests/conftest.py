"""What tests of every room share: a home for Airflow that is theirs, and real databases.

Nothing heavy is imported here; the fixtures import what they need.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

# Before anything imports Airflow: it writes to its home, which must not be the developer's.
_HOME = tempfile.mkdtemp(prefix="approvals-airflow-home-")
os.environ["AIRFLOW_HOME"] = _HOME
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)


# The same examples in every run, whatever the machine; new ones in a soak. No test is a timed test.
settings.register_profile(
    "approvals",
    deadline=None,
    derandomize="APPROVALS_SOAK" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("approvals")

#: A project of its own, run by tests/testing/test_authors_project.py.
collect_ignore = ["testing/author"]

#: Folders and files whose tests share one expensive thing, an Airflow mostly: all of them on one worker.
_TOGETHER = {
    "tests/flows/test_concurrency.py": "pair",
    "tests/flows/test_resume.py": "pair",
    "tests/flows/": "flows",
    "tests/adversary/": "adversary",
    "tests/detection/": "model",
    "tests/data/": "model",
    "tests/operators/": "model",
    "tests/packaging/": "packaging",
    "tests/store/": "databases",
    "tests/control/": "metadata",
    "tests/seams/": "metadata",
    "tests/channels/test_slack_conformance.py": "metadata",
    "tests/api/": "metadata",
    "tests/enforcement/": "metadata",
    "tests/doctor/": "metadata",
}


#: What takes longest begins first: suites on a live Airflow, then what shares a database or a model.
_FIRST = (
    "flows",
    "adversary",
    "adversary-postgresql",
    "tests/live/test_mission.py",
    "pair",
    "metadata",
    "model",
    "packaging",
    "databases",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the groups in the order of their length, and leave the order within each."""
    rank = {group: place for place, group in enumerate(_FIRST)}
    items.sort(key=lambda item: rank.get(group_of(item.nodeid), len(_FIRST)))


def group_of(nodeid: str) -> str:
    """Return the group that a test is run with: on one worker, one after the other."""
    group = next((name for start, name in _TOGETHER.items() if nodeid.startswith(start)), "")
    # The suite under attack has one Airflow a database; they need not wait for each other.
    if group == "adversary" and "[postgresql" in nodeid:
        return "adversary-postgresql"
    return group or nodeid.split("::", maxsplit=1)[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep what shares a fixture together, in the order that the tests were collected in."""
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False
    return Together(config, log)


@dataclass(frozen=True)
class Database:
    """A database of one test. ``name`` is ``sqlite`` or ``postgresql``."""

    engine: Engine

    @property
    def name(self) -> str:
        return self.engine.dialect.name

    @property
    def url(self) -> str:
        return self.engine.url.render_as_string(hide_password=False)

    def session(self) -> Session:
        """Return a plain session on the engine, for looking at what code under test left."""
        from sqlalchemy.orm import Session

        return Session(self.engine, expire_on_commit=False)

    def execute(self, statement: str, *parameters: Any) -> None:
        """Run one statement of raw SQL and commit it, as an owner of the database could."""
        with self.engine.begin() as connection:
            connection.exec_driver_sql(statement, parameters)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A PostgreSQL server of this test session; the URL of its maintenance database."""
    from tests.live.postgres import postgres

    folder = Path(tempfile.mkdtemp(prefix="approvals-pg-"))
    with postgres(folder) as url:
        yield url
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(postgres_server: str) -> str:
    """The URL of an empty PostgreSQL database that the session shares."""
    return _new_postgres_database(postgres_server)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database, once on each engine, in the place of Airflow's metadata database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'metadata.db'}"
    else:
        url = _new_postgres_database(request.getfixturevalue("postgres_server"))
    with pytest.MonkeyPatch.context() as patch:
        yield from _in_place_of_airflows(url, patch)


@pytest.fixture
def database(empty_database: Database) -> Database:
    """A database with the control plane's tables."""
    from airflow_approvals.store.tables import metadata

    metadata.create_all(empty_database.engine)
    return empty_database


def _new_postgres_database(server_url: str) -> str:
    from sqlalchemy import create_engine, make_url

    name = f"t{uuid4().hex}"
    server = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    server.dispose()
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def _in_place_of_airflows(url: str, patch: pytest.MonkeyPatch) -> Iterator[Database]:
    """Give Airflow's settings an engine that is set up as Airflow sets up its own."""
    from airflow import settings
    from airflow.utils.orm_event_handlers import setup_event_handlers
    from sqlalchemy import create_engine

    sqlite = url.startswith("sqlite")
    engine = create_engine(
        url,
        **(
            {"connect_args": {"check_same_thread": False}}
            if sqlite
            else {"isolation_level": "READ COMMITTED"}
        ),
    )
    setup_event_handlers(engine)
    patch.setattr(settings, "engine", engine)
    patch.setattr(settings, "SQL_ALCHEMY_CONN", url)
    yield Database(engine)
    engine.dispose()
