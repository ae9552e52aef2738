"""A real Airflow metadata database, without processes: DAGs, runs and tasks in any state.

The database is made once as ``airflow db migrate`` makes it, our tables included. On SQLite each
test gets a copy; on PostgreSQL the tests share one and keep apart by run id.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from airflow.models.connection import Connection
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance, clear_task_instances
from airflow.models.taskinstancehistory import TaskInstanceHistory
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.serialization.definitions.dag import SerializedDAG
from airflow.serialization.serialized_objects import DagSerialization, LazyDeserializedDAG
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import event, select
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from airflow_approvals.config.policy_file import read_policy_text
from airflow_approvals.control import decisions, intake, registration
from airflow_approvals.control.signing import generate_key_file
from airflow_approvals.core.ask import ASK_PARAM, Ask, ReportedData
from airflow_approvals.core.digest import sha256_digest
from airflow_approvals.core.manifest import EntityCount, Manifest, ObjectEntry
from airflow_approvals.core.models import Channel, Person, Place, Refusal, Verdict
from airflow_approvals.sensors.approval import ApprovalSensor
from airflow_approvals.store import ledger, policies
from airflow_approvals.store.session import run_transaction
from airflow_approvals.store.tables import GrantRow, IntakeRow, RequestRow
from tests.conftest import Database, _in_place_of_airflows, _new_postgres_database

T = TypeVar("T")
DAG_ID = "gated"
BUNDLE = "dags-folder"
SECRET = "hunter2-sink-password"
ALICE, BOB, CAROL, DAVE = (Person(name, name) for name in ("alice", "bob", "carol", "dave"))

POLICY = """
version: 1
dev_mode: false
sinks:
  - {id: sink-a, connection: sink_a, uri_prefix: "file:///srv/sink", assurance: run-bound}
groups:
  owners: {users: [bob, carol, alice]}
rules:
  - id: one-owner
    when: {sink: sink-a, action: export}
    effect: require
    seats: [{group: owners, count: 1}]
    channels: {ui: decide, api: decide}
    request_ttl: PT1H
    grant_ttl: PT30M
  - id: free
    when: {sink: sink-a, action: rehearse}
    effect: permit
    grant_ttl: PT30M
  - id: never
    when: {sink: sink-a, action: leak}
    effect: forbid
"""


def an_ask(**changes: Any) -> Ask:
    """An ask for one masked object, with changes."""
    entry = ObjectEntry("tickets.csv", sha256_digest(b"masked"), 6, 1, "csv", ("id", "email"))
    counts = (EntityCount("email", "EMAIL_ADDRESS", 1),)
    manifest = Manifest((entry,), "default", sha256_digest(b"profile"), "model 1", "0.1.0", counts)
    data = ReportedData.of("file:///srv/masked/_manifest.json", manifest)
    return replace(Ask("export", "sink-a", data, None, "a test", None, None, 7200), **changes)


@dataclass
class Airflow:
    """The metadata database in the place of Airflow's own, and words to set a scene in it."""

    database: Database
    folder: Path
    conf: Callable[[str, str], None]
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def look(self, work: Callable[[Session], T]) -> T:
        """Read in a session of its own; the rows stay readable after it."""
        with self.database.session() as session:
            return work(session)

    def do(self, work: Callable[[Session], T]) -> T:
        """Run in a control transaction."""
        return run_transaction(work)

    def activate(self, text: str = POLICY) -> None:
        policy = read_policy_text(text, "the test's policy")
        self.do(lambda s: policies.store_and_activate(s, policy, actor="tests", now=self.now))

    def add_key(self, name: str = "signing.pem") -> None:
        path = self.folder / name
        generate_key_file(path)
        self.conf("signing_key_file", str(path))

    def add_connection(self, conn_id: str = "sink_a", **parts: Any) -> None:
        fields = {"conn_type": "generic", "host": "sink.invalid", "password": SECRET, **parts}
        self.do(lambda s: s.add(Connection(conn_id=conn_id, **fields)))

    def a_run(self, dag_id: str = DAG_ID, *, user: str | None = "alice") -> Run:
        """A running run whose tasks have no state yet."""
        run_id = f"manual__{uuid4().hex}"
        self.do(lambda s: _create_run(s, dag_id, run_id, user, self.now))
        return Run(self, dag_id, run_id)

    def entries(self, **wanted: Any) -> list[dict[str, Any]]:
        """Ledger entries whose fields (or details) equal what is wanted."""
        found = self.look(lambda s: ledger.entries(s, limit=10_000))
        return [e for e in found if all({**e["details"], **e}.get(k) == v for k, v in wanted.items())]

    def kinds(self, run: Run) -> list[str]:
        return [entry["kind"] for entry in self.entries(run_id=run.run_id)]


@dataclass(frozen=True)
class Run:
    """One run, and what happens to its tasks."""

    airflow: Airflow
    dag_id: str
    run_id: str

    def place(self, task_id: str = "gate", map_index: int = -1) -> Place:
        return Place(self.dag_id, self.run_id, task_id, map_index)

    def task(self, task_id: str = "gate", map_index: int = -1) -> TaskInstance:
        """The task as it stands now."""
        return self.airflow.look(lambda s: _task(s, self.place(task_id, map_index)))

    def ti_id(self, task_id: str = "gate") -> str:
        return str(self.task(task_id).id)

    def change(self, task_id: str, **values: Any) -> None:
        """Write to the task's row, as Airflow would."""
        self.airflow.do(lambda s: _set(_task(s, self.place(task_id)), values))

    def start(self, task_id: str = "gate") -> None:
        """Let the task run as its next try."""
        number = self.task(task_id).try_number + 1
        self.change(task_id, state="running", try_number=number, start_date=self.airflow.now, end_date=None)

    def finish(self, task_id: str, state: str = "success") -> None:
        self.change(task_id, state=state, end_date=self.airflow.now)

    def park(self, ask: Ask | None = None, *, task_id: str = "gate") -> int:
        """Start the gate and let it send its ask and park, as worker and server do."""
        self.start(task_id)
        intake_id = self.send(ask or an_ask(), task_id=task_id)
        self.await_input(task_id)
        return intake_id

    def send(self, ask: Ask, *, task_id: str = "gate", at: datetime | None = None) -> int:
        """Let the gate's task send its ask; return the id of the intake."""
        body = {"params": {ASK_PARAM: ask.to_document()}}

        def work(session: Session) -> int:
            ti = _task(session, self.place(task_id))
            _write_inbox(session, ti, body)
            return intake.take_down(session, ti, body, now=at or self.airflow.now).id

        return self.airflow.do(work)

    def await_input(self, task_id: str = "gate") -> None:
        deadline = self.airflow.now + timedelta(days=1)
        self.change(task_id, state="awaiting_input", next_method="execute_complete", trigger_timeout=deadline)

    def retry(self, task_id: str = "gate") -> None:
        """What Airflow does when a try has failed and another is left."""

        def work(session: Session) -> None:
            ti = _task(session, self.place(task_id))
            ti.state = TaskInstanceState.FAILED
            ti.prepare_db_for_next_try(session)
            ti.state = TaskInstanceState.UP_FOR_RETRY
            ti.next_method = ti.next_kwargs = None

        self.airflow.do(work)

    def clear(self, *task_ids: str) -> None:
        """Clear tasks with Airflow's own function."""

        def work(session: Session) -> None:
            clear_task_instances([_task(session, self.place(name)) for name in task_ids], session)

        self.airflow.do(work)

    def delete(self, task_id: str = "gate") -> None:
        self.airflow.do(lambda s: s.delete(_task(s, self.place(task_id))))

    def register(self, intake_id: int, *, now: datetime | None = None) -> RequestRow | None:
        at = now or self.airflow.now
        return self.airflow.do(lambda s: registration.register(s, intake_id, now=at))

    def ask(self, ask: Ask | None = None, *, task_id: str = "gate") -> RequestRow:
        """Park the gate and register its request."""
        request = self.register(self.park(ask, task_id=task_id))
        assert request is not None
        return request

    def vote(
        self, request: RequestRow, person: Person = BOB, verdict: Verdict = Verdict.APPROVE
    ) -> decisions.Decided | Refusal:
        return decisions.decide(
            request.id, person=person, verdict=verdict, reason="looked", channel=Channel.API
        )

    def approve(self, ask: Ask | None = None) -> GrantRow:
        """Ask and approve; return the grant."""
        answer = self.vote(self.ask(ask))
        assert isinstance(answer, decisions.Decided), answer
        grant = self.grant()
        assert grant is not None
        return grant

    def grant(self) -> GrantRow | None:
        """The newest grant of the run."""
        found = select(GrantRow).where(GrantRow.run_id == self.run_id).order_by(GrantRow.issued_at.desc())
        return self.airflow.look(lambda s: s.scalar(found.limit(1)))

    def request(self, request_id: str) -> RequestRow:
        return self.airflow.look(lambda s: s.get_one(RequestRow, request_id))

    def intakes(self) -> list[IntakeRow]:
        found = select(IntakeRow).where(IntakeRow.run_id == self.run_id).order_by(IntakeRow.id)
        return self.airflow.look(lambda s: list(s.scalars(found)))

    def inbox(self, task_id: str = "gate") -> HITLDetail:
        return self.airflow.look(lambda s: s.get_one(HITLDetail, _task(s, self.place(task_id)).id))

    def history(self, task_id: str = "gate") -> list[TaskInstanceHistory]:
        found = select(TaskInstanceHistory).where(
            TaskInstanceHistory.run_id == self.run_id, TaskInstanceHistory.task_id == task_id
        )
        return self.airflow.look(lambda s: list(s.scalars(found.order_by(TaskInstanceHistory.try_number))))


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


def write_dag(session: Session, dag: DAG, *, bundle_version: str | None = None) -> None:
    """Serialize a DAG into the database, as the DAG processor does."""
    session.merge(DagBundleModel(name=BUNDLE))
    session.flush()
    SerializedDAG.bulk_write_to_db(BUNDLE, bundle_version, [dag], session=session)
    lazy = LazyDeserializedDAG(data=DagSerialization.to_dict(dag))
    SerializedDagModel.write_dag(lazy, BUNDLE, bundle_version, session=session)
    session.flush()


def _create_run(session: Session, dag_id: str, run_id: str, user: str | None, now: datetime) -> DagRun:
    found = SerializedDagModel.get_dag(dag_id, session=session)
    assert found is not None
    run = found.create_dagrun(
        run_id=run_id,
        run_after=now,
        run_type=DagRunType.MANUAL,
        triggered_by=DagRunTriggeredByType.REST_API,
        triggering_user_name=user,
        state=DagRunState.RUNNING,
        session=session,
    )
    session.flush()
    return run


def _task(session: Session, place: Place) -> TaskInstance:
    return session.scalars(
        select(TaskInstance).where(
            TaskInstance.dag_id == place.dag_id,
            TaskInstance.run_id == place.run_id,
            TaskInstance.task_id == place.task_id,
            TaskInstance.map_index == place.map_index,
        )
    ).one()


def _set(row: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(row, name, value)


def _write_inbox(session: Session, ti: TaskInstance, body: dict[str, Any]) -> None:
    """What core's ``upsert_hitl_detail`` leaves."""
    inbox = session.get(HITLDetail, ti.id)
    if inbox is None:
        inbox = HITLDetail(ti_id=ti.id, options=["Approve", "Reject"], subject="from the task")
        session.add(inbox)
        inbox.body, inbox.params = "from the task", body["params"]
        inbox.defaults, inbox.assignees = ["Approve"], [{"id": "mallory", "name": "mallory"}]
    inbox.responded_at = inbox.responded_by = inbox.chosen_options = None


def initialise(database: Database) -> None:
    """Make Airflow's tables and ours, and write the DAGs."""
    from airflow.utils.db import initdb

    with Session(database.engine) as session:
        initdb(session=session)
        for dag in gated_dags():
            write_dag(session, dag)
        session.commit()


def _without_waiting_for_the_disk(connection: Any, record: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF")


@contextmanager
def in_place_of_airflows(url: str) -> Iterator[tuple[Database, pytest.MonkeyPatch]]:
    """Point Airflow's settings, sessions included, at the database."""
    from airflow import settings

    with pytest.MonkeyPatch.context() as patch:
        for database in _in_place_of_airflows(url, patch):
            if database.name == "sqlite":
                event.listen(database.engine, "connect", _without_waiting_for_the_disk)
            maker = sessionmaker(database.engine, autoflush=False, expire_on_commit=False)
            patch.setattr(settings, "NonScopedSession", maker)
            patch.setattr(settings, "Session", scoped_session(maker))
            patch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", url)
            yield database, patch
            settings.Session.remove()


def _world(url: str, folder: Path) -> Iterator[Airflow]:
    with in_place_of_airflows(url) as (database, patch):

        def conf(option: str, value: str) -> None:
            patch.setenv(f"AIRFLOW__APPROVALS__{option.upper()}", value)

        conf("protected_connections", "sink_a")
        yield Airflow(database, folder, conf)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("metadata") / "airflow.db"
    with in_place_of_airflows(f"sqlite:///{path}") as (database, _):
        initialise(database)
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture(scope="session")
def postgres_metadata(postgres_server: str) -> str:
    url = _new_postgres_database(postgres_server)
    with in_place_of_airflows(url) as (database, _):
        initialise(database)
    return url


@pytest.fixture
def bare_airflow(sqlite_template: Path, tmp_path: Path) -> Iterator[Airflow]:
    """An Airflow database without a policy, a key or a connection."""
    path = tmp_path / "metadata.db"
    shutil.copyfile(sqlite_template, path)
    yield from _world(f"sqlite:///{path}", tmp_path)


@pytest.fixture
def airflow(bare_airflow: Airflow) -> Airflow:
    """An Airflow database with an active policy, a signing key and the sink's connection."""
    return _furnish(bare_airflow)


@pytest.fixture
def postgres_airflow(postgres_metadata: str, tmp_path: Path) -> Iterator[Airflow]:
    """The same on PostgreSQL, shared by tests that keep apart by run."""
    for world in _world(postgres_metadata, tmp_path):
        yield _furnish(world)


def _furnish(world: Airflow) -> Airflow:
    world.activate()
    world.add_key()
    defined = select(Connection.id).where(Connection.conn_id == "sink_a")
    if world.look(lambda s: s.scalar(defined)) is None:
        world.add_connection()
    return world
