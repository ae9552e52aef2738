"""Words to set a scene in a real Airflow metadata database: runs, and tasks in any state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from airflow.models.connection import Connection
from airflow.models.dagcode import DagCode
from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance, clear_task_instances
from airflow.models.taskinstancehistory import TaskInstanceHistory
from airflow.sdk.serde import deserialize
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.config.policy_file import read_policy_text
from airflow_approvals.control import decisions, intake, judging, registration, settlement, votes
from airflow_approvals.control.signing import generate_key_file
from airflow_approvals.core.ask import ASK_PARAM, Ask, ReportedData
from airflow_approvals.core.digest import sha256_digest
from airflow_approvals.core.gate import OUTCOME_KEY
from airflow_approvals.core.manifest import EntityCount, Manifest, ObjectEntry
from airflow_approvals.core.models import Channel, Person, Place, Refusal, Verdict
from airflow_approvals.enforcement import rings
from airflow_approvals.identity.directory import Membership
from airflow_approvals.seams import airflow_seams
from airflow_approvals.store import ledger, policies
from airflow_approvals.store.session import run_transaction
from airflow_approvals.store.tables import GrantRow, IntakeRow, RequestRow
from tests.conftest import Database

T = TypeVar("T")
DAG_ID = "gated"
VERSIONED_DAG_ID = "gated_and_versioned"
HOUR = timedelta(hours=1)
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

    def activate_bar(self, rule: str = "one-owner", **changes: Any) -> None:
        """Activate the policy with another bar in one of its rules."""
        text = f"{POLICY}# {uuid4().hex}\n"
        policy = read_policy_text(text, "the test's policy")
        rules = [replace(r, bar=replace(r.bar, **changes)) if r.id == rule else r for r in policy.rules]
        changed = replace(policy, rules=tuple(rules))
        self.do(lambda s: policies.store_and_activate(s, changed, actor="tests", now=self.now))
        policies._PARSED[policy.digest] = changed

    def add_key(self, name: str = "signing.pem") -> None:
        path = self.folder / name
        generate_key_file(path)
        self.conf("signing_key_file", str(path))

    def add_connection(self, conn_id: str = "sink_a", **parts: Any) -> None:
        fields = {"conn_type": "generic", "host": "sink.invalid", "password": SECRET, **parts}
        self.do(lambda s: s.add(Connection(conn_id=conn_id, **fields)))

    def a_run(self, dag_id: str = DAG_ID, *, user: str | None = "alice", by_task: bool = False) -> Run:
        """A running run whose tasks have no state yet; ``by_task``: a task triggered it."""
        run_id = f"manual__{uuid4().hex}"
        kind = DagRunType.OPERATOR_TRIGGERED if by_task else DagRunType.MANUAL
        self.do(lambda s: _create_run(s, dag_id, run_id, user, self.now, kind))
        return Run(self, dag_id, run_id)

    def redeploy(self, dag_id: str = DAG_ID, text: str = "# another body\n") -> None:
        """Let the DAG processor find another file behind the same serialized DAG."""
        path = self.folder / f"{uuid4().hex}.py"
        path.write_text(text)
        self.do(lambda s: DagCode.update_source_code(dag_id, str(path), session=s))

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
        return self.airflow.look(lambda s: task_at(s, self.place(task_id, map_index)))

    def ti_id(self, task_id: str = "gate") -> str:
        return str(self.task(task_id).id)

    def change(self, task_id: str, **values: Any) -> None:
        """Write to the task's row, as Airflow would."""
        self.airflow.do(lambda s: _set(task_at(s, self.place(task_id)), values))

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
            ti = task_at(session, self.place(task_id))
            _write_inbox(session, ti, body)
            return intake.take_down(session, ti, body, now=at or self.airflow.now).id

        return self.airflow.do(work)

    def await_input(self, task_id: str = "gate") -> None:
        deadline = self.airflow.now + timedelta(days=1)
        self.change(task_id, state="awaiting_input", next_method="execute_complete", trigger_timeout=deadline)

    def retry(self, task_id: str = "gate") -> None:
        """What Airflow does when a try has failed and another is left."""

        def work(session: Session) -> None:
            ti = task_at(session, self.place(task_id))
            ti.state = TaskInstanceState.FAILED
            ti.prepare_db_for_next_try(session)
            ti.state = TaskInstanceState.UP_FOR_RETRY
            ti.next_method = ti.next_kwargs = None

        self.airflow.do(work)

    def clear(self, *task_ids: str) -> None:
        """Clear tasks with Airflow's own function."""

        def work(session: Session) -> None:
            clear_task_instances([task_at(session, self.place(name)) for name in task_ids], session)

        self.airflow.do(work)

    def delete(self, task_id: str = "gate") -> None:
        self.airflow.do(lambda s: s.delete(task_at(s, self.place(task_id))))

    def register(self, intake_id: int, *, now: datetime | None = None) -> RequestRow | None:
        at = now or self.airflow.now
        return self.airflow.do(lambda s: registration.register(s, intake_id, now=at))

    def ask(self, ask: Ask | None = None, *, task_id: str = "gate") -> RequestRow:
        """Park the gate and register its request."""
        request = self.register(self.park(ask, task_id=task_id))
        assert request is not None
        return request

    def vote(
        self,
        request: RequestRow,
        person: Person = BOB,
        verdict: Verdict = Verdict.APPROVE,
        *,
        reason: str = "looked",
        channel: Channel = Channel.API,
    ) -> decisions.Decided | Refusal:
        return decisions.decide(request.id, person=person, verdict=verdict, reason=reason, channel=channel)

    def votes(self, request: RequestRow) -> list[tuple[str, str, str]]:
        """Who says what by which channel now."""
        cast = self.airflow.look(lambda s: votes.of_request(s, request.id))
        return [(vote.person.id, vote.verdict.value, vote.channel.value) for vote in cast]

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
        return self.airflow.look(lambda s: s.get_one(HITLDetail, task_at(s, self.place(task_id)).id))

    def history(self, task_id: str = "gate") -> list[TaskInstanceHistory]:
        found = select(TaskInstanceHistory).where(
            TaskInstanceHistory.run_id == self.run_id, TaskInstanceHistory.task_id == task_id
        )
        return self.airflow.look(lambda s: list(s.scalars(found.order_by(TaskInstanceHistory.try_number))))


_TRIGGERED_BY = {
    DagRunType.MANUAL: DagRunTriggeredByType.REST_API,
    DagRunType.OPERATOR_TRIGGERED: DagRunTriggeredByType.OPERATOR,
}


def _create_run(
    session: Session, dag_id: str, run_id: str, user: str | None, now: datetime, kind: DagRunType
) -> DagRun:
    found = SerializedDagModel.get_dag(dag_id, session=session)
    assert found is not None
    run = found.create_dagrun(
        run_id=run_id,
        run_after=now,
        run_type=kind,
        triggered_by=_TRIGGERED_BY[kind],
        triggering_user_name=user,
        state=DagRunState.RUNNING,
        session=session,
    )
    session.flush()
    return run


def task_at(session: Session, place: Place) -> TaskInstance:
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


def start(run: Run, task_id: str = "use", *, after: timedelta = timedelta(0)) -> Refusal | None:
    """Queue the task as its next try and let it ask to start."""
    run.change(task_id, state="queued", try_number=run.task(task_id).try_number + 1)
    ti_id, now = run.ti_id(task_id), run.airflow.now + after
    refusal = run.airflow.do(lambda s: rings.check_start(s, ti_id, now=now))
    if refusal is None:
        run.change(task_id, state="running", start_date=now)
    return refusal


def open_sink(
    run: Run,
    task_id: str = "use",
    *,
    conn_id: str = "sink_a",
    after: timedelta = timedelta(0),
    members: Membership | None = None,
) -> Refusal | None:
    """Let a running task ask for a protected connection; ``members`` are the groups at that moment."""
    known = members or judging.membership_now()
    ti_id, now = run.ti_id(task_id), run.airflow.now + after
    parts = airflow_seams.connection_parts(conn_id)
    return run.airflow.do(
        lambda s: rings.check_connection(
            s, ti_id, conn_id, now=now, lookup=lambda _: parts, membership=lambda: known
        )
    )


def use(run: Run, task_id: str = "use") -> None:
    assert start(run, task_id) is None
    assert open_sink(run, task_id) is None


def state_of(run: Run, request: RequestRow) -> tuple[str, str | None]:
    row = run.request(request.id)
    return row.state, row.decided_because


def close(run: Run, request: RequestRow, *, after: timedelta = timedelta(0)) -> bool:
    """What the dispatcher does with a request that may be due."""

    def work(session: Session) -> bool:
        parked = airflow_seams.lock_gate(session, request.place)
        row = session.get_one(RequestRow, request.id)
        return settlement.close_if_due(session, parked, row, now=run.airflow.now + after)

    return run.airflow.do(work)


def outcome_of(run: Run) -> dict[str, Any]:
    """What the resumed gate is told."""
    return deserialize(run.task().next_kwargs)["event"][OUTCOME_KEY]
