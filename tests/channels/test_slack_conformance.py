"""What every interactive channel has to pass, by Slack, on the real ``decide()`` and PostgreSQL."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from airflow_approvals.chat import clicks, messages, slack_callbacks
from airflow_approvals.chat.click_work import ChatDeps
from airflow_approvals.chat.forms import FormDeps
from airflow_approvals.core.models import Channel, Person, Verdict
from airflow_approvals.identity.slack_accounts import NOT_LINKED, Account, Owner, Refusal, Tie
from airflow_approvals.store import outbox as rows
from airflow_approvals.store.tables import OutboxRow, RequestRow, VoteRow
from tests.control.airflow_scene import BOB, CAROL, POLICY, Airflow, Run
from tests.live import slack_clicks

pytestmark = pytest.mark.soak
ROUNDS = 40 if os.environ.get("APPROVALS_SOAK") else 6
TEAM, CHANNEL = "T0TEAM", "C0CHANNEL"
PEOPLE = {"U0ALICE": "alice", "U0BOB": "bob", "U0CAROL": "carol"}
SLACK_POLICY = POLICY.replace("api: decide}", "api: decide, slack: decide}") + (
    "identities: {slack: {team: T0TEAM, users: {U0ALICE: alice, U0BOB: bob, U0CAROL: carol}}}\n"
)


class Chat:
    """Slack's side of a real control plane: messages that stand, clicks and forms."""

    def __init__(self, airflow: Airflow) -> None:
        self.airflow = airflow
        self.opened: list[Mapping[str, Any]] = []
        airflow.activate(SLACK_POLICY)

    def open_form(self, trigger: str, view: Mapping[str, Any]) -> None:
        self.opened.append(view)

    def deps(self, **changes: Any) -> ChatDeps:
        real = messages.chat_deps()
        forms = FormDeps(real.forms.facts, real.forms.demands, lambda: self)
        found = replace(
            real, forms=forms, owner_of=_owner_of, find_person=lambda n: Person(n, n), may_answer=_may
        )
        return replace(found, **changes)

    def announce(self, request: RequestRow) -> str:
        """Let the message of a request stand in the channel; return its reference."""
        ref, now = f"{CHANNEL}:1700000000.{secrets.randbelow(10**6):06}", self.airflow.now

        def work(session: Session) -> None:
            rows.reserve(session, request.id, channel="slack", recipient=CHANNEL, now=now)
            rows.record(session, request.id, ref, channel="slack", now=now)

        self.airflow.do(work)
        return ref

    def click(self, request: RequestRow, ref: str, user: str, verdict: Verdict = Verdict.APPROVE) -> None:
        """Press a button; everything that follows has happened on return."""
        action = slack_clicks.APPROVE if verdict is Verdict.APPROVE else slack_clicks.REJECT
        button = {"action_id": action, "value": request.id, "text": {}, "style": "primary"}
        message = {
            "ts": ref.partition(":")[2],
            "blocks": [{"type": "actions", "block_id": "approvals.actions", "elements": [button]}],
        }
        payload = slack_clicks.payload(
            message=message, channel=CHANNEL, action_id=action, user=user, team=TEAM
        )
        answer = self.take(payload)
        assert answer.body is None
        assert answer.after is not None
        answer.after()

    def form(
        self, request: RequestRow, ref: str, user: str, verdict: Verdict = Verdict.APPROVE
    ) -> Mapping[str, Any]:
        before = len(self.opened)
        self.click(request, ref, user, verdict)
        (view,) = self.opened[before:]
        return view

    def send(self, view: Mapping[str, Any], user: str, **changes: Any) -> Mapping[str, Any] | None:
        sent = slack_clicks.submission(view=view, user=user, team=TEAM, answers={"reason": "looked"})
        return self.take(sent, **changes).body

    def take(
        self, payload: Mapping[str, Any], *, patience: float = 60.0, **changes: Any
    ) -> slack_callbacks.Answer:
        callback_id = f"sha256:{secrets.token_hex(32)}"
        return slack_callbacks.take_with(
            lambda: self.deps(**changes), callback_id, payload, after=lambda: None, patience=patience
        )

    def said(self, request: RequestRow, kind: str = "whisper") -> list[str]:
        found = select(OutboxRow).where(OutboxRow.request_id == request.id, OutboxRow.kind == kind)
        kept = self.airflow.look(lambda s: list(s.scalars(found.order_by(OutboxRow.id))))
        return [row.text for row in kept]


def _owner_of(account: Account) -> Owner | Refusal:
    name = PEOPLE.get(account.user)
    return Owner(name, Tie.MAP) if name is not None else NOT_LINKED


def _may(name: str, dag_id: str) -> bool:
    return True


@pytest.fixture
def chat_of(postgres_airflow: Airflow) -> Chat:
    return Chat(postgres_airflow)


@pytest.fixture
def run(chat_of: Chat) -> Run:
    return chat_of.airflow.a_run()


def test_approve_and_reject_sent_together_have_one_winner(chat_of: Chat) -> None:
    for _ in range(ROUNDS):
        run = chat_of.airflow.a_run()
        request = run.ask()
        ref = chat_of.announce(request)
        forms = [
            (chat_of.form(request, ref, "U0BOB", Verdict.APPROVE), "U0BOB"),
            (chat_of.form(request, ref, "U0CAROL", Verdict.REJECT), "U0CAROL"),
        ]
        bodies = _together([lambda v=view, u=user: chat_of.send(v, u) for view, user in forms])
        assert sorted(body["response_action"] for body in bodies) == ["clear", "update"]
        _one_winner(run, request)


def test_slack_the_api_and_the_page_together_have_one_winner(chat_of: Chat) -> None:
    for _ in range(ROUNDS):
        run = chat_of.airflow.a_run()
        request = run.ask()
        view = chat_of.form(request, chat_of.announce(request), "U0BOB", Verdict.REJECT)
        outcomes = _together(
            [
                lambda v=view: chat_of.send(v, "U0BOB"),
                lambda r=run, q=request: r.vote(q, CAROL, channel=Channel.API),
                lambda r=run, q=request: r.vote(q, BOB, channel=Channel.UI),
            ]
        )
        refused = [o for o in outcomes if isinstance(o, Refusal) or "update" in str(o)]
        assert len(refused) == 2, outcomes
        _one_winner(run, request)


def _one_winner(run: Run, request: RequestRow) -> None:
    """The row, the vote, the inbox and the resumed gate all say the same."""
    state = run.request(request.id).state
    assert state in ("approved", "rejected")
    ((_, verdict, _),) = run.votes(request)
    assert verdict == {"approved": "approve", "rejected": "reject"}[state]
    task = run.task()
    assert (task.state, task.next_method) == ("scheduled", "execute_complete")
    chosen = {"approved": "Approve", "rejected": "Reject"}[state]
    assert run.inbox().chosen_options == [chosen]
    assert state in str(task.next_kwargs)
    assert (run.grant() is not None) is (state == "approved")


def _together(calls: list[Callable[[], Any]]) -> list[Any]:
    barrier, outcomes = threading.Barrier(len(calls)), []

    def work(call: Callable[[], Any]) -> None:
        barrier.wait()
        outcomes.append(call())

    threads = [threading.Thread(target=work, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == len(calls)
    return outcomes


def test_a_double_click_and_a_double_send_are_one_vote(chat_of: Chat, run: Run) -> None:
    request = run.ask()
    ref = chat_of.announce(request)
    first, second = (chat_of.form(request, ref, "U0BOB") for _ in range(2))
    bodies = _together([lambda: chat_of.send(first, "U0BOB"), lambda: chat_of.send(first, "U0BOB")])
    assert sorted(body["response_action"] for body in bodies) == ["clear", "update"]
    assert chat_of.send(second, "U0BOB")["response_action"] == "update"
    assert run.votes(request) == [("bob", "approve", "slack")]


def test_a_person_counts_once_towards_a_quorum_whatever_they_press(chat_of: Chat, run: Run) -> None:
    chat_of.airflow.activate(SLACK_POLICY.replace("count: 1", "count: 2"))
    request = run.ask()
    ref = chat_of.announce(request)
    for _ in range(2):
        assert chat_of.send(chat_of.form(request, ref, "U0BOB"), "U0BOB") == {"response_action": "clear"}
    run.vote(request, BOB, channel=Channel.UI)
    assert run.request(request.id).state == "pending"
    assert chat_of.send(chat_of.form(request, ref, "U0CAROL"), "U0CAROL") == {"response_action": "clear"}
    assert run.request(request.id).state == "approved"


def test_the_requester_gets_no_form_and_it_is_recorded(chat_of: Chat, run: Run) -> None:
    request = run.ask()
    chat_of.click(request, chat_of.announce(request), "U0ALICE")
    assert chat_of.opened == []
    assert any("somebody else" in said for said in chat_of.said(request))
    (entry,) = run.airflow.entries(kind="vote_refused", request=request.id)
    assert (entry["actor"], entry["details"]["code"]) == ("slack:T0TEAM:U0ALICE", "self_approval")
    assert run.request(request.id).state == "pending"


def test_somebody_who_began_to_shape_the_run_meanwhile_cannot_send_the_form(chat_of: Chat, run: Run) -> None:
    from airflow_approvals.store.tables import ActorRow

    request = run.ask()
    view = chat_of.form(request, chat_of.announce(request), "U0BOB")
    parts = {"dag_id": run.dag_id, "run_id": run.run_id, "task_id": "use", "map_index": -1}
    act = ActorRow(person_id="bob", person_name="bob", act="mark", at=run.airflow.now, **parts)
    run.airflow.do(lambda s: s.add(act))
    body = chat_of.send(view, "U0BOB")
    assert body["response_action"] == "update"
    assert "somebody else" in str(body["view"])
    assert run.votes(request) == []


def _expire(run: Run, request: RequestRow) -> None:
    def work(session: Session) -> None:
        session.get_one(RequestRow, request.id).expires_at = run.airflow.now - timedelta(minutes=1)

    run.airflow.do(work)


ENDS = {
    "expiry": _expire,
    "clear": lambda run, request: run.clear("gate"),
    "retry": lambda run, request: run.retry("gate"),
    "skip": lambda run, request: run.finish("gate", "skipped"),
    "delete": lambda run, request: run.delete("gate"),
}


@pytest.mark.parametrize("how", list(ENDS))
def test_after_the_request_has_ended_neither_click_nor_form_counts(chat_of: Chat, run: Run, how: str) -> None:
    request = run.ask()
    ref = chat_of.announce(request)
    view = chat_of.form(request, ref, "U0BOB")
    ENDS[how](run, request)
    before = len(chat_of.opened)
    chat_of.click(request, ref, "U0BOB")
    assert len(chat_of.opened) == before
    assert any("already" in said for said in chat_of.said(request))
    assert chat_of.said(request, "update")  # the message is closed
    body = chat_of.send(view, "U0BOB")
    assert (body["response_action"], "already" in str(body["view"])) == ("update", True)
    assert run.request(request.id).state in ("expired", "withdrawn")
    assert run.votes(request) == []
    assert run.grant() is None


def test_while_the_gate_is_locked_the_answer_comes_in_time_and_the_outcome_later(
    chat_of: Chat, run: Run
) -> None:
    request = run.ask()
    view = chat_of.form(request, chat_of.announce(request), "U0BOB")
    with run.airflow.database.engine.connect() as holder:
        holder.execute(
            text("SELECT 1 FROM task_instance WHERE run_id = :run AND task_id = 'gate' FOR UPDATE"),
            {"run": run.run_id},
        )
        started = time.monotonic()
        body = chat_of.send(view, "U0BOB", patience=slack_callbacks.PATIENCE_SECONDS)
        assert time.monotonic() - started < 15
        assert slack_callbacks.LATER in str(body["view"])
        assert run.votes(request) == []
        holder.rollback()
    deadline = time.monotonic() + 120
    while not chat_of.said(request) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert chat_of.said(request) == ["Approved by bob."]
    assert run.votes(request) == [("bob", "approve", "slack")]


def test_a_request_that_asks_anew_is_not_decided_by_the_old_form(chat_of: Chat, run: Run) -> None:
    request = run.ask()
    view = chat_of.form(request, chat_of.announce(request), "U0BOB")
    run.clear("gate")
    again = run.ask()
    chat_of.announce(again)
    assert chat_of.send(view, "U0BOB")["response_action"] == "update"
    assert (run.votes(request), run.votes(again)) == ([], [])
    stolen = {**view, "private_metadata": view["private_metadata"].replace(request.id, again.id)}
    assert "not opened for you" in str(chat_of.send(stolen, "U0BOB"))
    assert run.votes(again) == []


def test_another_policy_makes_an_open_form_stale(chat_of: Chat, run: Run) -> None:
    request = run.ask()
    ref = chat_of.announce(request)
    view = chat_of.form(request, ref, "U0BOB")
    chat_of.airflow.activate(
        SLACK_POLICY.replace("channels: {ui", 'approver_reason: "[A-Z].*"\n    channels: {ui')
    )
    body = chat_of.send(view, "U0BOB")
    assert body["response_action"] in ("update", "errors")
    assert run.votes(request) == []
    fresh = chat_of.form(request, ref, "U0BOB")
    refused = chat_of.send(fresh, "U0BOB")
    assert set(refused["errors"]) == {"approvals.reason"}
    chat_of.airflow.activate(SLACK_POLICY)


def test_a_vote_and_its_form_are_committed_together(chat_of: Chat, run: Run) -> None:
    """A process that dies between the decision and its own record finds that it has voted."""
    request = run.ask()
    view = chat_of.form(request, chat_of.announce(request), "U0BOB")
    real = chat_of.deps().decide

    class DiedError(Exception):
        pass

    def decides_and_dies(*arguments: Any, **named: Any) -> Any:
        real(*arguments, **named)
        raise DiedError

    body = chat_of.send(view, "U0BOB", decide=decides_and_dies)
    assert slack_callbacks.LATER in str(body)
    later = chat_of.airflow.now + timedelta(minutes=2)
    assert clicks.process_inbox(chat_of.deps(clock=lambda: later)) >= 1
    assert chat_of.said(request) == ["Your vote was counted."]
    found = select(VoteRow).where(VoteRow.request_id == request.id)
    assert len(chat_of.airflow.look(lambda s: list(s.scalars(found)))) == 1
    assert chat_of.airflow.entries(kind="vote_refused", request=request.id) == []
