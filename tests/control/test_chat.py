from __future__ import annotations

import threading

import pytest

from airflow_approvals.control import chat, outbox
from airflow_approvals.core.models import Channel, RequestState, Verdict
from tests.control.slack_world import CLOSED, SELF_APPROVAL, a_world
from tests.live.slack_emulator import SlackEmulator


@pytest.fixture(scope="module")
def slack():
    with SlackEmulator() as emulator:
        yield emulator


@pytest.fixture
def world(tmp_path, slack):
    with a_world(tmp_path, slack) as made:
        yield made


def process(world, **changes):
    return chat.process_inbox(world.chat_deps(**changes))


def whispered(world, request_id):
    """The private words queued for a request, as (Slack user, text)."""
    rows = world.outbox_rows(request_id)
    return [(row.recipient, row.text) for row in rows if row.kind == "whisper"]


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_click_of_the_right_person_decides_once_and_closes_the_message(world, verdict):
    request_id = world.announced()
    callback_id = world.clicked(request_id, "bob", verdict)
    assert process(world) == 1
    assert world.decided == [(request_id, "bob", verdict, Channel.SLACK)]
    assert world.inbox_state(callback_id) == "done"
    assert whispered(world, request_id) == []
    assert process(world) == 0

    outbox.deliver_due(world.outbox_deps())
    message = world.slack.message_of(request_id)
    assert all(block["type"] != "actions" for block in message["blocks"])
    assert f"bob: {verdict} (slack" in str(message["blocks"])


def test_the_requester_is_refused_in_private_and_the_request_stays_open(world):
    request_id = world.announced()
    world.clicked(request_id, "alice")
    assert process(world) == 1
    assert world.decided == []
    outbox.deliver_due(world.outbox_deps())
    assert world.slack.whispers()[0] == ("alice", SELF_APPROVAL.sentence)
    assert any(block["type"] == "actions" for block in world.slack.message_of(request_id)["blocks"])
    assert world.refusals() == []  # decide() records its own


def test_an_account_that_is_not_linked_is_refused(world):
    request_id = world.announced()
    world.people = {}
    world.clicked(request_id, "bob")
    process(world)
    user = world.slack.users["bob"]
    assert whispered(world, request_id) == [(user, chat.NOT_LINKED.sentence)]
    assert world.refusals() == [(f"slack:{world.slack.team}:{user}", "not_linked")]
    assert world.decided == []


def test_an_account_linked_to_nobody_active_is_refused(world):
    request_id = world.announced()
    world.airflow.discard("bob")
    world.clicked(request_id, "bob")
    process(world)
    assert whispered(world, request_id) == [(world.slack.users["bob"], chat.NO_SUCH_USER.sentence)]
    assert [code for _, code in world.refusals()] == ["no_such_user"]
    assert world.decided == []


def test_somebody_whom_airflow_would_not_let_answer_is_refused(world):
    request_id = world.announced()
    world.clicked(request_id, "viewer")
    process(world)
    assert whispered(world, request_id) == [(world.slack.users["viewer"], chat.NOT_PERMITTED.sentence)]
    assert [code for _, code in world.refusals()] == ["not_permitted"]
    assert world.decided == []


@pytest.mark.parametrize("changes", [{"team": "T0OTHER"}, {"user_team": "T0OTHER"}])
def test_another_workspace_is_refused_recorded_and_told_nothing(world, changes):
    request_id = world.announced()
    world.clicked(request_id, "bob", **changes)
    assert process(world) == 1
    assert world.decided == []
    assert whispered(world, request_id) == []
    assert [code for _, code in world.refusals()] == ["foreign_workspace"]


def test_without_a_workspace_in_the_policy_nothing_counts(world):
    request_id = world.announced()
    world.clicked(request_id, "bob")
    process(world, directory=lambda session: None)
    assert world.decided == []
    assert [code for _, code in world.refusals()] == ["slack_not_in_policy"]


@pytest.mark.parametrize("changes", [{"message_ts": "1700000000.000001"}, {"channel": "C0OTHER"}])
def test_a_click_on_another_message_is_refused(world, changes):
    request_id = world.announced()
    world.clicked(request_id, "bob", **changes)
    process(world)
    assert world.decided == []
    assert [code for _, code in world.refusals()] == ["unknown_message"]


def test_the_message_of_one_request_decides_no_other(world):
    shown, meant = world.announced(), world.announced()
    world.clicked(meant, "bob", message_ts=world.delivery(shown).message.split(":")[1])
    process(world)
    assert world.decided == []
    assert [(entry.request_id, entry.details["code"]) for entry in world.entries] == [
        (meant, "unknown_message")
    ]


def test_a_request_that_never_was_is_refused(world):
    request_id = world.announced()
    world.clicked(request_id, "bob", request_id="made-up")
    process(world)
    (entry,) = world.entries
    assert (entry.request_id, entry.details["code"]) == (None, "unknown_message")


def test_a_click_on_a_closed_request_says_so_and_closes_the_message(world):
    request_id = world.announced()
    world.clicked(request_id, "bob")
    world.closed[request_id] = RequestState.EXPIRED
    process(world)
    assert whispered(world, request_id) == [(world.slack.users["bob"], CLOSED.sentence)]
    outbox.deliver_due(world.outbox_deps())
    assert world.slack.message_of(request_id)["text"].startswith("Expired")


def test_a_double_click_decides_once(world):
    request_id = world.announced()
    world.clicked(request_id, "bob")
    world.clicked(request_id, "bob")
    assert process(world) == 2
    assert len(world.decided) == 1


def test_a_click_before_the_post_is_recorded_waits_for_the_record(world):
    request_id = world.announced()
    delivery = world.delivery(request_id)
    ref = delivery.message

    def set_message(message):
        def work(session):
            session.merge(delivery).message = message

        world.run(work)

    callback_id = world.clicked(request_id, "bob")
    set_message("")
    assert process(world) == 0
    assert world.inbox_state(callback_id) == "new"
    set_message(ref)
    assert process(world) == 1
    assert len(world.decided) == 1


def test_a_process_that_dies_at_work_leaves_the_click_to_another(world):
    request_id = world.announced()
    callback_id = world.clicked(request_id, "bob")

    class Died(BaseException):
        pass

    def dies(*arguments, **named):
        raise Died

    with pytest.raises(Died):
        process(world, decide=dies)
    assert world.inbox_state(callback_id) == "taken-1"
    assert process(world) == 0  # it might still be at work
    world.later(minutes=1)
    assert process(world) == 1
    assert world.decided == [(request_id, "bob", Verdict.APPROVE, Channel.SLACK)]


def test_a_fault_never_counts_as_a_vote_and_ends_in_a_refusal(world):
    request_id = world.announced()
    world.clicked(request_id, "bob")

    def down(name):
        raise ConnectionError("the identity service is down")

    for _ in range(11):
        process(world, find_person=down)
        world.later(minutes=1)
    assert world.decided == []
    assert whispered(world, request_id) == [(world.slack.users["bob"], chat.NOT_PROCESSED.sentence)]
    assert [code for _, code in world.refusals()] == ["not_processed"]
    assert process(world) == 0


def test_one_click_that_fails_does_not_hold_up_the_others(world):
    bad, good = world.announced(), world.announced()
    world.clicked(bad, "bob")
    world.clicked(good, "bob")

    def decide(request_id, **vote):
        if request_id == bad:
            raise RuntimeError("a fault")
        return world.decide(request_id, **vote)

    assert process(world, decide=decide) == 1
    assert [request_id for request_id, *_ in world.decided] == [good]


def test_a_replay_is_not_kept_again(world):
    request_id = world.announced()
    callback_id = world.clicked(request_id, "bob")
    process(world)
    from airflow_approvals.channels.slack_interaction import Click

    replayed = Click(request_id, Verdict.REJECT, "T0", "T0", "U0", "A0", "C0", "1.1")
    assert not chat.keep_click(world.run, callback_id, replayed, now=world.now)
    assert process(world) == 0
    assert len(world.decided) == 1


def test_many_processes_at_once_decide_each_click_once(world):
    requests = [world.announced() for _ in range(6)]
    for request_id in requests:
        world.clicked(request_id, "bob")
    together = threading.Barrier(4)
    settled = []

    def work():
        together.wait()
        settled.append(process(world))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(settled) == len(requests)
    assert sorted(request_id for request_id, *_ in world.decided) == sorted(requests)
