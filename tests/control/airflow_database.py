"""A real Airflow metadata database, without processes.

It is made once, as ``airflow db migrate`` makes it, our tables included. On SQLite each test
starts from a copy; on PostgreSQL the tests share one and keep apart by run. The engines live as
long as the session: compiling the statements anew for each test is most of a test's time.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow.models.connection import Connection
from airflow.models.dagbundle import DagBundleModel
from airflow.models.serialized_dag import SerializedDagModel
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.serialization.definitions.dag import SerializedDAG
from airflow.serialization.serialized_objects import DagSerialization, LazyDeserializedDAG
from sqlalchemy import Engine, create_engine, event, select
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from airflow_approvals.core.digest import sha256_digest
from airflow_approvals.sensors.approval import ApprovalSensor
from tests.conftest import Database, _new_postgres_database
from tests.control.airflow_scene import DAG_ID, VERSIONED_DAG_ID, Airflow

BUNDLE = "dags-folder"


def gated_dags() -> list[DAG]:
    """The DAGs that every database of these tests holds."""
    reference = {"uri": "file:///srv/masked/_manifest.json", "digest": sha256_digest(b"any")}
    asked = partial(ApprovalSensor, action="export", sink="sink-a", manifest=reference)
    with DAG(DAG_ID, schedule=None) as gated:
        asked(task_id="gate", retries=1) >> EmptyOperator(task_id="between") >> EmptyOperator(task_id="use")
        EmptyOperator(task_id="aside")
    with DAG("ungated", schedule=None) as ungated:
        EmptyOperator(task_id="gate") >> EmptyOperator(task_id="use")
    with DAG("in_a_row", schedule=None) as in_a_row:
        asked(task_id="gate") >> asked(task_id="second") >> EmptyOperator(task_id="use")
    return [gated, ungated, in_a_row]


def versioned_dag() -> DAG:
    """A gated DAG of a bundle that keeps versions."""
    reference = {"uri": "file:///srv/masked/_manifest.json", "digest": sha256_digest(b"any")}
    with DAG(VERSIONED_DAG_ID, schedule=None) as dag:
        gate = ApprovalSensor(task_id="gate", action="export", sink="sink-a", manifest=reference)
        gate >> EmptyOperator(task_id="use")
    return dag


def write_dag(session: Session, dag: DAG, *, bundle_version: str | None = None) -> None:
    """Serialize a DAG into the database, as the DAG processor does."""
    session.merge(DagBundleModel(name=BUNDLE))
    session.flush()
    SerializedDAG.bulk_write_to_db(BUNDLE, bundle_version, [dag], session=session)
    lazy = LazyDeserializedDAG(data=DagSerialization.to_dict(dag))
    SerializedDagModel.write_dag(lazy, BUNDLE, bundle_version, session=session)
    session.flush()


def initialise(engine: Engine) -> None:
    """Make Airflow's tables and ours, and write the DAGs."""
    from airflow.utils.db import initdb

    with Session(engine) as session:
        initdb(session=session)
        for dag in gated_dags():
            write_dag(session, dag)
        write_dag(session, versioned_dag(), bundle_version="c0ffee")
        session.commit()


def new_engine(url: str) -> Engine:
    """An engine that is set up as Airflow sets up its own."""
    from airflow.utils.orm_event_handlers import setup_event_handlers

    if not url.startswith("sqlite"):
        engine = create_engine(url, isolation_level="READ COMMITTED")
        setup_event_handlers(engine)
        return engine
    engine = create_engine(url, connect_args={"check_same_thread": False})
    setup_event_handlers(engine)
    event.listen(engine, "connect", _without_waiting_for_the_disk)
    return engine


def _without_waiting_for_the_disk(connection: Any, record: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF")


@contextmanager
def in_place_of_airflows(engine: Engine) -> Iterator[pytest.MonkeyPatch]:
    """Point Airflow's settings, sessions included, at the engine."""
    from airflow import settings

    url = engine.url.render_as_string(hide_password=False)
    maker = sessionmaker(engine, autoflush=False, expire_on_commit=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "engine", engine)
        patch.setattr(settings, "SQL_ALCHEMY_CONN", url)
        patch.setattr(settings, "NonScopedSession", maker)
        patch.setattr(settings, "Session", scoped_session(maker))
        patch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", url)
        yield patch
        settings.Session.remove()


def scene_of(engine: Engine, folder: Path) -> Iterator[Airflow]:
    with in_place_of_airflows(engine) as patch:

        def conf(option: str, value: str) -> None:
            patch.setenv(f"AIRFLOW__APPROVALS__{option.upper()}", value)

        conf("protected_connections", "sink_a")
        yield Airflow(Database(engine), folder, conf)
        _wait_for_senders()


def _wait_for_senders() -> None:
    """Let what a test began to send come to an end: it would send in the next test's stead."""
    messages = sys.modules.get("airflow_approvals.chat.messages")
    until = time.monotonic() + 60
    while messages is not None and messages._turns.is_busy:
        assert time.monotonic() < until, "a thread of this test sends for ever"
        time.sleep(0.01)


@dataclass(frozen=True)
class SqliteMetadata:
    """One SQLite file, and what it holds at the start of a test."""

    engine: Engine
    path: Path
    template: Path

    def restore(self) -> None:
        """Put the file back as it was made."""
        self.engine.dispose()
        for left in self.path.parent.glob(f"{self.path.name}*"):
            left.unlink()
        shutil.copyfile(self.template, self.path)


@pytest.fixture(scope="session")
def sqlite_metadata(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteMetadata]:
    folder = tmp_path_factory.mktemp("metadata")
    path, template = folder / "airflow.db", folder / "template.sqlite"
    engine = new_engine(f"sqlite:///{path}")
    with in_place_of_airflows(engine):
        initialise(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    shutil.copyfile(path, template)
    yield SqliteMetadata(engine, path, template)
    engine.dispose()


@pytest.fixture(scope="session")
def postgres_metadata(postgres_server: str) -> Iterator[Engine]:
    engine = new_engine(_new_postgres_database(postgres_server))
    with in_place_of_airflows(engine):
        initialise(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def bare_airflow(sqlite_metadata: SqliteMetadata, tmp_path: Path) -> Iterator[Airflow]:
    """An Airflow database without a policy, a key or a connection."""
    sqlite_metadata.restore()
    yield from scene_of(sqlite_metadata.engine, tmp_path)


@pytest.fixture
def airflow(bare_airflow: Airflow) -> Airflow:
    """An Airflow database with an active policy, a signing key and the sink's connection."""
    return _furnish(bare_airflow)


@pytest.fixture
def postgres_airflow(postgres_metadata: Engine, tmp_path: Path) -> Iterator[Airflow]:
    """The same on PostgreSQL, shared by tests that keep apart by run."""
    for scene in scene_of(postgres_metadata, tmp_path):
        yield _furnish(scene)


def _furnish(scene: Airflow) -> Airflow:
    scene.activate()
    scene.add_key()
    defined = select(Connection.id).where(Connection.conn_id == "sink_a")
    if scene.look(lambda s: s.scalar(defined)) is None:
        scene.add_connection()
    return scene
