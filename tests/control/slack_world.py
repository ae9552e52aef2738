"""A control plane in the small: the real tables, a real Slack, and people and policy to choose."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import create_engine, event, select
from sqlalchemy.orm import Session

from airflow_approvals.channels.demands import Demands
from airflow_approvals.channels.facts import RequestFacts, VoteFact
from airflow_approvals.channels.slack import SlackChannel
from airflow_approvals.channels.slack_interaction import Click, Submission
from airflow_approvals.chat import clicks
from airflow_approvals.chat.click_work import ChatDeps
from airflow_approvals.chat.forms import FormDeps
from airflow_approvals.control import outbox
from airflow_approvals.control.decisions import Decided
from airflow_approvals.control.reminders import Nudge
from airflow_approvals.control.votes import Check
from airflow_approvals.core.bar import NOTHING_ALLOWS_IT
from airflow_approvals.core.models import Channel, Person, Refusal, RequestState, Verdict
from airflow_approvals.errors import ChannelError
from airflow_approvals.identity.slack_accounts import NOT_LINKED, Account, Owner, Tie
from airflow_approvals.store import outbox as rows
from airflow_approvals.store.tables import DeliveryRow, InboxRow, OutboxRow, RequestRow, metadata
from tests.channels.facts_for_tests import DIGEST, some_facts
from tests.live.slack_emulator import SlackEmulator

T = TypeVar("T")

AIRFLOW = "http://airflow.example"
#: Not looked at: what a form demands is the world's to say.
BAR = NOTHING_ALLOWS_IT
SELF_APPROVAL = Refusal("self_approval", "You started this run, so you cannot vote.", 403)
CLOSED = Refusal("already_closed", "The request is already closed.", 409)


@dataclass
class LedgerEntry:
    kind: str
    actor: str | None
    channel: Channel | None
    request_id: str | None
    details: dict[str, Any]


@dataclass
class World:
    """``people`` maps Slack user ids to Airflow names, ``airflow`` holds the active users."""

    folder: Path
    slack: SlackEmulator
    people: dict[str, str] = field(default_factory=dict)
    airflow: set[str] = field(default_factory=lambda: {"alice", "bob", "viewer"})
    may_not_answer: set[str] = field(default_factory=lambda: {"viewer"})
    requesters: tuple[str, ...] = ("alice",)
    team: str = ""
    entries: list[LedgerEntry] = field(default_factory=list)
    decided: list[tuple[str, str, Verdict, Channel]] = field(default_factory=list)
    closed: dict[str, RequestState] = field(default_factory=dict)
    votes: dict[str, tuple[VoteFact, ...]] = field(default_factory=dict)
    nudges: list[tuple[str, str, str]] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    reasons: list[tuple[str, str]] = field(default_factory=list)
    demands: Demands = field(default_factory=Demands)
    opened: list[dict[str, Any]] = field(default_factory=list)
    dead_triggers: set[str] = field(default_factory=set)
    changed: dict[str, Any] = field(default_factory=dict)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    channel: SlackChannel = field(init=False)

    def __post_init__(self) -> None:
        self.engine = create_engine(f"sqlite:///{self.folder / 'world.db'}")
        event.listen(self.engine, "connect", _no_implicit_begin)
        event.listen(self.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        metadata.create_all(self.engine)
        self.channel = SlackChannel(self.slack.token, self.slack.channel, self.slack.url, AIRFLOW)
        self.team = self.slack.team
        self.people = {self.slack.users[name]: name for name in ("alice", "bob", "viewer")}

    def run(self, work: Callable[[Session], T], /) -> T:
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            return work(session)

    def clock(self) -> datetime:
        return self.now

    def later(self, **span: float) -> None:
        self.now += timedelta(**span)

    def append(self, session: Session, kind: str, **entry: Any) -> int:
        wanted = {name: entry.get(name) for name in ("actor", "channel", "request_id")}
        self.entries.append(LedgerEntry(kind, details=dict(entry.get("details") or {}), **wanted))
        return len(self.entries)

    def facts(self, session: Session, request_id: str) -> RequestFacts:
        return some_facts(
            request_id=request_id,
            requesters=self.requesters,
            state=self.closed.get(request_id, RequestState.PENDING),
            votes=self.votes.get(request_id, ()),
            **self.changed,
        )

    def nudge(self, request_id: str, kind: str, group: str) -> Nudge | None:
        """Word a reminder as long as the request is open."""
        self.nudges.append((request_id, kind, group))
        if request_id in self.closed:
            return None
        return Nudge("Still waits. <!channel>", ("bob",), (self.slack.users["bob"], "<!here>"))

    def objection(self, request_id: str, person: Person) -> Refusal | None:
        """Why the vote would be refused as things stand."""
        if request_id in self.closed:
            return CLOSED
        return SELF_APPROVAL if person.name in self.requesters else None

    def decide(
        self,
        request_id: str,
        *,
        person: Person,
        verdict: Verdict,
        reason: str,
        channel: Channel,
        ticket: str = "",
        check: Check | None = None,
        said_at: datetime | None = None,
        account: str = "",
    ) -> Decided | Refusal:
        """What ``decide()`` promises, with one seat: refuse, or settle and queue the update."""
        if (refusal := self.objection(request_id, person)) is not None:
            return refusal

        def work(session: Session) -> Refusal | None:
            refusal = check(session, session.get_one(RequestRow, request_id), BAR) if check else None
            if refusal is None:
                rows.add(session, request_id, "update", channel="slack", now=self.now)
            return refusal

        if (refusal := self.run(work)) is not None:
            return refusal
        self.decided.append((request_id, person.name, verdict, channel))
        self.reasons.append((reason, ticket))
        approved = verdict is Verdict.APPROVE
        self.closed[request_id] = RequestState.APPROVED if approved else RequestState.REJECTED
        self.votes[request_id] = (VoteFact(person.name, verdict, channel, self.now),)
        return Decided(request_id, self.closed[request_id], f"{verdict} by {person.name}.")

    def owner_of(self, account: Account) -> Owner | Refusal:
        name = self.people.get(account.user)
        return Owner(name, Tie.MAP) if name is not None else NOT_LINKED

    def open_form(self, trigger: str, view: Mapping[str, Any]) -> None:
        """A desk at which forms are looked at."""
        if trigger in self.dead_triggers:
            raise ChannelError("Slack refused the call: trigger_expired.")
        self.opened.append(dict(view))

    def chat_deps(self, **changes: Any) -> ChatDeps:
        parts: dict[str, Any] = {
            "run": self.run,
            "append": self.append,
            "team": lambda session: self.team,
            "owner_of": self.owner_of,
            "find_person": lambda name: Person(f"id-{name}", name) if name in self.airflow else None,
            "may_answer": lambda name, dag_id: name not in self.may_not_answer,
            "objection": self.objection,
            "decide": self.decide,
            "forms": FormDeps(self.facts, lambda session, request_id, verdict: self.demands, lambda: self),
            "invite": lambda session, account: f"{AIRFLOW}/approvals/links?attempt={account.user}",
            "page": lambda request: f"{AIRFLOW}/requests/{request.id}",
            "clock": self.clock,
        }
        return ChatDeps(**{**parts, **changes})

    def outbox_deps(self, **changes: Any) -> outbox.OutboxDeps:
        parts: dict[str, Any] = {
            "run": self.run,
            "append": self.append,
            "facts": self.facts,
            "nudge": self.nudge,
            "given_up": self.given_up.append,
            "courier": self.channel,
            "clock": self.clock,
        }
        return outbox.OutboxDeps(**{**parts, **changes})

    def new_request(self) -> str:
        """Register a request and queue its announcement, in one transaction."""
        request_id = secrets.token_urlsafe(16)

        def work(session: Session) -> None:
            session.add(_request_row(request_id, self.now))
            rows.add(session, request_id, "request", channel="slack", now=self.now)

        self.run(work)
        return request_id

    def announced(self) -> str:
        request_id = self.new_request()
        assert outbox.deliver_due(self.outbox_deps()) == 1
        return request_id

    def clicked(
        self, request_id: str, who: str, verdict: Verdict = Verdict.APPROVE, /, **changes: Any
    ) -> str:
        """Write a click down as the route would; return its id."""
        parts: dict[str, Any] = {
            "request_id": request_id,
            "verdict": verdict,
            "team": self.slack.team,
            "user_team": self.slack.team,
            "user": self.slack.users[who],
            "app": "A0APPROVALS",
            "channel": self.slack.channel,
            "message_ts": self.delivery(request_id).message.partition(":")[2] or "1.1",
            "trigger": "1.2.abc",
        }
        callback_id = "sha256:" + secrets.token_hex(32)
        assert clicks.keep(self.run, callback_id, Click(**{**parts, **changes}), now=self.now)
        return callback_id

    def form(self, request_id: str, who: str, verdict: Verdict = Verdict.APPROVE) -> dict[str, Any]:
        """Click a button and return the form that this opened."""
        before = len(self.opened)
        self.clicked(request_id, who, verdict)
        assert clicks.process_inbox(self.chat_deps()) == 1
        (view,) = self.opened[before:]
        return view

    def sent(self, view: Mapping[str, Any], who: str, /, **changes: Any) -> str:
        """Write a form that was sent down, as a transport does for one that is worked on later."""
        request_id, _, nonce = view["private_metadata"].partition(":")
        parts: dict[str, Any] = {
            "request_id": request_id,
            "nonce": nonce,
            "team": self.slack.team,
            "user_team": self.slack.team,
            "user": self.slack.users[who],
            "app": "A0APPROVALS",
            "reason": "looked at it",
            "ticket": "",
        }
        callback_id = "sha256:" + secrets.token_hex(32)
        assert clicks.keep(self.run, callback_id, Submission(**{**parts, **changes}), now=self.now)
        return callback_id

    def delivery(self, request_id: str) -> DeliveryRow:
        found = select(DeliveryRow).where(DeliveryRow.request_id == request_id)
        return self.run(lambda session: session.scalars(found).one())

    def outbox_rows(self, request_id: str) -> list[OutboxRow]:
        found = select(OutboxRow).where(OutboxRow.request_id == request_id).order_by(OutboxRow.id)
        return self.run(lambda session: list(session.scalars(found)))

    def inbox_state(self, callback_id: str) -> str:
        return self.run(lambda session: session.get_one(InboxRow, callback_id).state)

    def refusals(self) -> list[tuple[str | None, str]]:
        return [
            (entry.actor, entry.details["code"]) for entry in self.entries if entry.kind == "vote_refused"
        ]


@contextmanager
def a_world(folder: Path, slack: SlackEmulator) -> Iterator[World]:
    world = World(folder, slack)
    try:
        yield world
    finally:
        world.engine.dispose()


def _no_implicit_begin(connection: Any, record: Any) -> None:
    connection.isolation_level = None


def _request_row(request_id: str, now: datetime) -> RequestRow:
    return RequestRow(
        id=request_id,
        ti_id=secrets.token_hex(16),
        try_number=1,
        state="pending",
        ask="{}",
        ask_digest=DIGEST,
        manifest_digest=DIGEST,
        action="export",
        sink="partner-bucket",
        label="confidential",
        policy_digest=DIGEST,
        pinned="{}",
        requesters="[]",
        unattributed=False,
        subject="",
        body="",
        created_at=now,
        expires_at=now + timedelta(hours=1),
        dag_id="secure_llm_export",
        run_id="manual__1",
        task_id="gate",
        map_index=-1,
    )
