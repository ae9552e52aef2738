"""Reminders and escalations: planned, worded from what stands, and said in the request's thread."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from airflow_approvals.channels.failures import RetryLaterError
from airflow_approvals.control import judging, outbox, reminders
from airflow_approvals.core.bar import Escalation
from airflow_approvals.core.models import RequestState, Verdict
from airflow_approvals.core.seats import Seat
from airflow_approvals.errors import UnavailableError
from airflow_approvals.store import outbox as rows
from airflow_approvals.store.tables import OutboxRow, RequestRow
from tests.control.airflow_scene import ALICE, BOB, CAROL, DAVE, HOUR, POLICY, Airflow, Run
from tests.control.slack_world import World, a_world
from tests.live.slack_emulator import SlackEmulator

MINUTE = timedelta(minutes=1)
REMIND = (10 * MINUTE, 2 * HOUR)
ESCALATE = (Escalation(20 * MINUTE, "owners"),)


@pytest.fixture(scope="module")
def slack():
    with SlackEmulator() as emulator:
        yield emulator


@pytest.fixture
def world(tmp_path: Path, slack: SlackEmulator):
    with a_world(tmp_path, slack) as made:
        yield made


@pytest.fixture
def run(airflow: Airflow) -> Run:
    """A run under a rule that reminds and escalates, with Slack configured."""
    for option in ("slack_bot_token_file", "slack_signing_secret_file"):
        airflow.conf(option, "/nowhere")
    airflow.conf("slack_channel", "C0TEST")
    airflow.activate_bar(seats=(Seat("owners", 2),), veto=False, remind=REMIND, escalate=ESCALATE)
    return airflow.a_run(user="dave")


def planned(run: Run, request: RequestRow) -> list[tuple[str, str, timedelta]]:
    found = select(OutboxRow).where(OutboxRow.request_id == request.id).order_by(OutboxRow.id)
    kept = run.airflow.look(lambda s: list(s.scalars(found)))
    return [(r.kind, r.recipient, r.due_at - request.created_at) for r in kept if r.kind in reminders.ENTRIES]


def test_what_falls_due_while_the_request_is_open_is_planned_once(run: Run) -> None:
    request = run.ask()
    expected = [("remind", "", 10 * MINUTE), ("escalate", "owners", 20 * MINUTE)]
    assert planned(run, request) == expected
    run.airflow.do(
        lambda s: reminders.plan(s, s.get_one(RequestRow, request.id), medium="slack", now=run.airflow.now)
    )
    assert planned(run, request) == expected


def test_what_is_past_at_the_announcement_falls_due_at_once(run: Run) -> None:
    request = run.ask()
    late = request.created_at + 15 * MINUTE
    run.airflow.do(lambda s: [s.delete(row) for row in s.scalars(select(OutboxRow))] and None)
    run.airflow.do(lambda s: reminders.plan(s, s.get_one(RequestRow, request.id), medium="slack", now=late))
    assert planned(run, request) == [("remind", "", 15 * MINUTE), ("escalate", "owners", 20 * MINUTE)]


def test_a_reminder_names_who_may_still_decide(run: Run) -> None:
    request = run.ask()
    run.vote(request, BOB)
    nudge = reminders.word(request.id, reminders.REMIND, "")
    assert nudge is not None
    assert nudge.people == ("alice", "carol")
    assert "it still needs 1 of owners" in nudge.text
    assert "May still decide: alice, carol." in nudge.text


def test_a_reminder_names_whoever_could_fill_a_seat_by_moving_somebody(airflow: Airflow) -> None:
    both = POLICY.replace(
        "owners: {users: [bob, carol, alice]}", "owners: {users: [bob, carol]}\n  leads: {users: [bob]}"
    )
    airflow.activate(
        both.replace(
            "seats: [{group: owners, count: 1}]",
            "seats: [{group: owners, count: 1}, {group: leads, count: 1}]",
        )
    )
    run = airflow.a_run(user="dave")
    request = run.ask()
    run.vote(request, BOB)
    nudge = reminders.word(request.id, reminders.REMIND, "")
    assert nudge is not None
    assert nudge.people == ("carol",), "bob takes the lead's seat then, wherever he sits now"


def test_a_reminder_names_no_program(run: Run) -> None:
    run.airflow.conf("service_accounts", "carol")
    nudge = reminders.word(run.ask().id, reminders.REMIND, "")
    assert nudge is not None
    assert nudge.people == ("alice", "bob")


@pytest.mark.parametrize(("kind", "group"), [(reminders.REMIND, ""), (reminders.ESCALATE, "owners")])
def test_nobody_to_name_because_a_group_cannot_be_asked_is_tried_again(
    run: Run, monkeypatch: pytest.MonkeyPatch, kind: str, group: str
) -> None:
    request, known = run.ask(), judging.membership_now()
    silent = replace(known, groups={"owners": frozenset()}, unresolved={"owners": "Slack is silent."})
    monkeypatch.setattr(judging, "membership_now", lambda: silent)
    with pytest.raises(UnavailableError, match="Group owners cannot be asked"):
        reminders.word(request.id, kind, group)


def test_a_reminder_names_no_requester(airflow: Airflow) -> None:
    run = airflow.a_run(user="alice")
    nudge = reminders.word(run.ask().id, reminders.REMIND, "")
    assert nudge is not None
    assert nudge.people == ("bob", "carol")


def test_nothing_is_left_to_say_of_what_is_final(run: Run) -> None:
    request = run.ask()
    run.vote(request, BOB, Verdict.REJECT)
    assert reminders.word(request.id, reminders.REMIND, "") is not None
    for person in (BOB, CAROL):
        run.vote(request, person)
    for kind, group in ((reminders.REMIND, ""), (reminders.ESCALATE, "owners")):
        assert reminders.word(request.id, kind, group) is None


def test_an_escalation_tells_its_group_and_gives_it_no_vote(airflow: Airflow) -> None:
    airflow.activate_bar(seats=(Seat("owners", 1),), escalate=(Escalation(MINUTE, "owners"),))
    run = airflow.a_run(user="alice")
    request = run.ask()
    nudge = reminders.word(request.id, reminders.ESCALATE, "owners")
    assert nudge is not None
    assert nudge.people == ("alice", "bob", "carol")
    assert run.vote(request, DAVE).code == "not_eligible"
    assert run.vote(request, ALICE).code == "self_approval"


def remind(world: World, request_id: str, kind: str = "remind", group: str = "") -> None:
    world.run(
        lambda s: rows.add(
            s, request_id, kind, channel="slack", recipient=group, now=world.now, due=world.now + HOUR
        )
    )


def deliver(world: World) -> int:
    return outbox.deliver_due(world.outbox_deps())


def thread_of(world: World, request_id: str) -> list[dict]:
    parent = world.delivery(request_id).message.partition(":")[2]
    answer = world.slack.call("conversations.replies", channel=world.slack.channel, ts=parent)
    return [message for message in answer["messages"] if message["ts"] != parent]


@pytest.mark.parametrize(
    ("kind", "group", "entry"), [("remind", "", "reminder_sent"), ("escalate", "leads", "escalated")]
)
def test_what_is_due_is_said_in_the_thread_and_entered(world: World, kind, group, entry) -> None:
    request_id = world.announced()
    remind(world, request_id, kind, group)
    assert deliver(world) == 0
    world.later(hours=1)
    assert deliver(world) == 1
    (reply,) = thread_of(world, request_id)
    assert reply["text"] == "Still waits. &lt;!channel&gt;"
    assert reply["blocks"][1]["text"]["text"] == f"<@{world.slack.users['bob']}>"
    (written,) = world.entries
    assert (written.kind, written.request_id) == (entry, request_id)
    assert written.details == {"people": ["bob"], "medium": "slack", "group": group}
    world.later(hours=1)
    assert deliver(world) == 0


def test_what_falls_due_after_the_decision_is_dropped_without_a_word(world: World) -> None:
    request_id = world.announced()
    remind(world, request_id)
    world.closed[request_id] = RequestState.APPROVED
    world.later(hours=1)
    deliver(world)
    assert thread_of(world, request_id) == []
    assert world.entries == []
    assert [row.state for row in world.outbox_rows(request_id)] == ["sent", "dropped"]


def test_a_reminder_waits_for_the_message_it_belongs_to(world: World) -> None:
    request_id = world.new_request()
    remind(world, request_id)
    world.run(lambda s: rows.postpone(s, [world.outbox_rows(request_id)[0].id], until=world.now + 2 * HOUR))
    world.later(hours=1)
    deliver(world)
    assert world.nudges == []
    world.later(hours=1)
    deliver(world)
    world.later(seconds=2)
    deliver(world)
    assert len(thread_of(world, request_id)) == 1


def test_a_reminder_of_what_was_never_announced_is_dropped(world: World) -> None:
    request_id = world.new_request()
    world.run(lambda s: rows.finish(s, [world.outbox_rows(request_id)[0].id], rows.FAILED))
    remind(world, request_id)
    world.later(hours=1)
    deliver(world)
    assert [row.state for row in world.outbox_rows(request_id)] == ["failed", "dropped"]
    assert world.nudges == []


def test_a_reminder_that_slack_asks_to_send_later_is_sent_later(world: World) -> None:
    request_id = world.announced()
    remind(world, request_id)
    world.later(hours=1)

    class Busy(type(world.channel)):
        def reply(self, *arguments) -> None:
            raise RetryLaterError("Slack asks to wait.", 5)

    busy = Busy(world.slack.token, world.slack.channel, world.slack.url)
    outbox.deliver_due(world.outbox_deps(courier=busy))
    assert world.entries == []
    world.later(seconds=6)
    assert deliver(world) == 1
    assert len(thread_of(world, request_id)) == 1


def test_a_person_with_id_and_name_is_named_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    request, now = run.ask(), judging.membership_now()
    known = replace(
        now, groups={"owners": frozenset({"7", "bob"})}, aliases=frozenset({frozenset({"7", "bob"})})
    )
    monkeypatch.setattr(judging, "membership_now", lambda: known)
    for kind, group in ((reminders.REMIND, ""), (reminders.ESCALATE, "owners")):
        nudge = reminders.word(request.id, kind, group)
        assert nudge is not None
        assert nudge.people == ("bob",)
