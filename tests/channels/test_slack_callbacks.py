"""Acknowledging in time: with the outcome when it is there, and with a word when it is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from airflow_approvals.channels.demands import Demands
from airflow_approvals.chat import click_work, clicks, slack_callbacks
from airflow_approvals.chat.slack_callbacks import Answer, id_of_envelope, take_with
from airflow_approvals.control import vote_demands
from airflow_approvals.core.models import RequestState
from airflow_approvals.errors import ContractError
from airflow_approvals.identity import slack_accounts
from airflow_approvals.identity.slack_accounts import Account, Owner, Refusal, Tie
from tests.control.slack_world import CLOSED, World, a_world
from tests.live import slack_clicks

ID = "sha256:" + "a" * 64


@pytest.fixture
def world(tmp_path, slack):
    with a_world(tmp_path, slack) as made:
        yield made


def a_form(world: World, who: str = "bob", **answers: str) -> dict[str, Any]:
    """The payload of a form that somebody sends."""
    view = world.form(world.announced(), who)
    return slack_clicks.submission(
        view=view, user=world.slack.users[who], team=world.slack.team, answers=answers
    )


def send(
    world: World, payload: dict[str, Any], *, callback_id: str = ID, patience: float = 5.0, **changes: Any
) -> Answer:
    return take_with(
        lambda: world.chat_deps(**changes),
        callback_id,
        payload,
        after=lambda: None,
        later=lambda: "http://airflow.example",
        patience=patience,
    )


def whispers(world: World, payload: dict[str, Any]) -> list[str]:
    request_id = payload["view"]["private_metadata"].partition(":")[0]
    return [row.text for row in world.outbox_rows(request_id) if row.kind == "whisper"]


def until(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def test_a_form_that_counts_is_closed_and_nothing_more_is_said(world):
    payload = a_form(world, reason="fine")
    assert send(world, payload).body == {"response_action": "clear"}
    assert world.reasons == [("fine", "")]
    assert whispers(world, payload) == []


def test_what_the_form_lacks_is_shown_in_it_and_it_can_be_sent_again(world):
    world.demands = Demands(reason_needed=True, ticket=("OPS-[0-9]+",))
    payload = a_form(world, reason="x", ticket="OPS-1")
    values = payload["view"]["state"]["values"]
    values["approvals.reason"]["reason"]["value"] = " "
    first = send(world, payload, callback_id="sha256:" + "1" * 64).body
    assert first == {
        "response_action": "errors",
        "errors": {"approvals.reason": vote_demands.SAY_WHY.sentence},
    }
    values["approvals.reason"]["reason"]["value"] = "fine"
    values["approvals.ticket"]["ticket"]["value"] = "none"
    second = send(world, payload, callback_id="sha256:" + "2" * 64).body
    assert set(second["errors"]) == {"approvals.ticket"}
    values["approvals.ticket"]["ticket"]["value"] = "OPS-7"
    assert send(world, payload, callback_id="sha256:" + "3" * 64).body == {"response_action": "clear"}
    assert whispers(world, payload) == []


def test_a_refusal_takes_the_forms_place_and_is_not_whispered_besides(world):
    payload = a_form(world)
    request_id = payload["view"]["private_metadata"].partition(":")[0]
    world.closed[request_id] = RequestState.EXPIRED
    body = send(world, payload).body
    assert body["response_action"] == "update"
    assert CLOSED.sentence in str(body["view"])
    assert whispers(world, payload) == []


def test_another_workspace_is_told_nothing_by_the_answer_either(world):
    payload = a_form(world)
    payload["user"]["team_id"] = "T0OTHER"
    assert send(world, payload).body == {"response_action": "clear"}
    assert whispers(world, payload) == []
    assert [code for _, code in world.refusals()] == ["foreign_workspace"]


def test_a_stranger_is_told_nothing_by_the_answer_either(world):
    payload = a_form(world)
    answer = send(world, payload, owner_of=lambda account: slack_accounts.STRANGER)
    assert answer.body == {"response_action": "clear"}
    assert whispers(world, payload) == []


class Hanging:
    """An identity service that answers only once it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.asked = threading.Event()

    def owner_of(self, account: Account) -> Owner | Refusal:
        self.asked.set()
        assert self.let_go.wait(20)
        return Owner("bob", Tie.MAP)


def test_while_the_identity_service_hangs_the_answer_comes_in_time_and_the_outcome_later(world):
    payload, identity = a_form(world), Hanging()
    started = time.monotonic()
    answer = send(world, payload, patience=slack_callbacks.PATIENCE_SECONDS, owner_of=identity.owner_of)
    assert time.monotonic() - started < 15
    assert slack_callbacks.LATER in str(answer.body["view"])
    assert slack_clicks.AT_WORK in slack_callbacks.LATER, "tests of a live server know it by that"
    assert world.decided == []
    identity.let_go.set()
    assert until(lambda: whispers(world, payload)) == ["approve by bob."]
    assert len(world.decided) == 1


def test_a_click_is_acknowledged_before_anybody_is_asked(world):
    identity = Hanging()
    request_id = world.announced()
    payload = slack_clicks.payload(
        message=world.slack.message_of(request_id),
        channel=world.slack.channel,
        action_id=slack_clicks.APPROVE,
        user=world.slack.users["bob"],
        team=world.slack.team,
    )
    answer = send(world, payload, owner_of=identity.owner_of)
    assert answer.body is None
    assert not identity.asked.is_set()
    identity.let_go.set()
    assert answer.after is not None
    answer.after()
    assert len(world.opened) == 1


def test_when_too_many_hang_a_form_is_left_to_the_dispatcher(world, monkeypatch):
    full = threading.BoundedSemaphore(1)
    full.acquire()
    monkeypatch.setattr(slack_callbacks, "_IN_TIME", full)
    payload = a_form(world)
    answer = send(world, payload, patience=0.2)
    assert slack_callbacks.LATER in str(answer.body["view"])
    until(lambda: world.inbox_state(ID) == "new")
    assert clicks.process_inbox(world.chat_deps()) == 1
    assert whispers(world, payload) == ["approve by bob."]


def test_an_outcome_that_is_committed_too_slowly_is_told_in_private_after_all(world, monkeypatch):
    monkeypatch.setattr(slack_callbacks, "_GRACE_SECONDS", 0.05)
    payload = a_form(world)
    real = click_work._tell

    def slowly(*arguments):
        real(*arguments)
        time.sleep(0.5)

    monkeypatch.setattr(click_work, "_tell", slowly)
    answer = send(world, payload, patience=0.2)
    assert slack_callbacks.LATER in str(answer.body["view"])
    assert until(lambda: whispers(world, payload)) == ["approve by bob."]


def test_a_fault_is_answered_in_time_and_tried_again(world):
    payload = a_form(world)

    def fails(account):
        raise ConnectionError("the directory is away")

    answer = send(world, payload, owner_of=fails)
    assert slack_callbacks.LATER in str(answer.body["view"])
    world.later(minutes=1)
    assert clicks.process_inbox(world.chat_deps()) == 1
    assert whispers(world, payload) == ["approve by bob."]


def test_a_process_that_is_killed_after_the_acknowledgement_loses_nothing(world):
    """What such a process leaves is a row at work that nobody works on."""
    payload = a_form(world)
    said = slack_callbacks.parse_interaction(payload)
    assert clicks.keep(world.run, ID, said, now=world.now, at_work=True)
    assert clicks.process_inbox(world.chat_deps()) == 0
    world.later(minutes=1)
    assert clicks.process_inbox(world.chat_deps()) == 1
    assert len(world.decided) == 1


def test_a_replay_is_acknowledged_without_a_second_effect(world):
    payload = a_form(world)
    assert send(world, payload).body == {"response_action": "clear"}
    again = send(world, payload)
    assert slack_callbacks.LATER in str(again.body["view"]), "a form does not close as if that had counted"
    assert again.after is None
    assert len(world.decided) == 1


def test_a_form_that_is_closed_is_acknowledged_and_nothing_follows(world):
    payload = a_form(world)
    assert send(world, payload | {"type": "view_closed"}) == Answer()
    assert world.decided == []


def test_what_is_no_interaction_of_ours_is_an_error_of_the_contract(world):
    with pytest.raises(ContractError):
        send(world, {"type": "shortcut"})


def test_work_that_fails_afterwards_raises_nothing(world):
    def fails():
        raise RuntimeError("Slack is away")

    answer = take_with(world.chat_deps, ID, a_form(world), after=fails)
    assert answer.after is not None
    answer.after()


def test_a_crowd_is_written_down_a_few_at_a_time(world):
    """More connections than Airflow's pool keeps cost more than waiting for one."""
    message = world.slack.message_of(world.announced())
    click = slack_clicks.payload(
        message=message,
        channel=world.slack.channel,
        action_id=slack_clicks.APPROVE,
        user=world.slack.users["bob"],
        team=world.slack.team,
    )
    at_once, most, lock = 0, 0, threading.Lock()

    def run(work: Callable[[Any], Any]) -> Any:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.01)
        with lock:
            at_once -= 1
            return world.run(work)

    ids = [f"sha256:{number:064x}" for number in range(30)]
    with ThreadPoolExecutor(len(ids)) as pool:
        answers = list(pool.map(lambda one: send(world, click, callback_id=one, run=run), ids))
    assert all(answer.after is not None for answer in answers), "each is written down"
    assert most == 4


def test_an_envelope_has_one_id_however_often_it_is_delivered():
    assert id_of_envelope("e-1") == id_of_envelope("e-1") != id_of_envelope("e-2")
    assert id_of_envelope("e-1").startswith("sha256:")
