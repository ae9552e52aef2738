"""The thread of a request and private messages: every word once and in order, whatever dies in between."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_approvals.channels.failures import DeliveryRefusedError, RetryLaterError
from airflow_approvals.channels.slack import SlackChannel
from airflow_approvals.control import outbox
from airflow_approvals.core.models import RequestState
from airflow_approvals.errors import ChannelError
from airflow_approvals.store import outbox as rows
from tests.channels.block_kit import assert_valid_blocks
from tests.channels.scripted_slack import ScriptedSlack
from tests.control.slack_world import World, a_world
from tests.live.slack_emulator import SlackEmulator

WAIT = {"ok": False, "error": "ratelimited"}


@pytest.fixture(scope="module")
def slack() -> Iterator[SlackEmulator]:
    with SlackEmulator() as emulator:
        yield emulator


@pytest.fixture
def world(tmp_path: Path, slack: SlackEmulator) -> Iterator[World]:
    with a_world(tmp_path, slack) as made:
        yield made


@pytest.fixture
def scripted(world: World) -> Iterator[ScriptedSlack]:
    with ScriptedSlack() as server:
        world.channel = SlackChannel("xoxb-scripted", "C0SCRIPTED", server.url)
        yield server


class Died(BaseException):
    """The process ends here: nothing in it gets to tidy up."""


class Dying(SlackChannel):
    """Dies right before or right after its reply reaches Slack."""

    def __init__(self, world: World, *, after: bool) -> None:
        super().__init__(world.slack.token, world.slack.channel, world.slack.url)
        self.after = after

    def reply(self, *arguments: Any, **named: Any) -> None:
        if self.after:
            super().reply(*arguments, **named)
        raise Died


def deliver(world: World, **changes: Any) -> int:
    return outbox.deliver_due(world.outbox_deps(**changes))


def queue(world: World, request_id: str, kind: str, **more: Any) -> None:
    world.run(lambda session: rows.add(session, request_id, kind, channel="slack", now=world.now, **more))


def said(world: World, request_id: str) -> list[str]:
    return [message["text"] for message in world.slack.thread_of(request_id)]


def states(world: World, request_id: str) -> list[tuple[str, str]]:
    return [(row.kind, row.state) for row in world.outbox_rows(request_id)]


def test_what_happened_is_said_below_the_message_in_order(world: World) -> None:
    request_id = world.announced()
    for text in ("bob votes to approve; it still needs 1 of owners.", "Approved by <!channel> & carol."):
        queue(world, request_id, "story", text=text)
    assert deliver(world) == 2
    assert said(world, request_id) == [
        "bob votes to approve; it still needs 1 of owners.",
        "Approved by &lt;!channel&gt; &amp; carol.",
    ]
    for reply in world.slack.thread_of(request_id):
        assert_valid_blocks(reply["blocks"])
    assert deliver(world) == 0


def test_a_story_waits_for_the_message_it_belongs_to(world: World) -> None:
    request_id = world.new_request()
    queue(world, request_id, "story", text="first")
    announcement = world.outbox_rows(request_id)[0].id
    world.run(lambda s: rows.postpone(s, [announcement], until=world.now + timedelta(seconds=5)))
    assert deliver(world) == 0
    world.later(seconds=5)
    deliver(world)
    world.later(seconds=5)
    deliver(world)
    assert said(world, request_id) == ["first"]


def test_a_story_behind_one_that_is_being_said_waits_for_seconds(world: World) -> None:
    request_id = world.announced()
    for text in ("first", "second"):
        queue(world, request_id, "story", text=text)
    first = world.outbox_rows(request_id)[-2].id
    world.run(lambda s: rows.claim(s, first, now=world.now, until=world.now + outbox.CLAIM))
    assert deliver(world) == 0
    world.run(lambda s: rows.finish(s, [first], rows.SENT))
    world.later(seconds=11)
    assert deliver(world) == 1
    assert said(world, request_id) == ["second"]


def test_a_story_of_what_was_never_announced_is_dropped(world: World, scripted: ScriptedSlack) -> None:
    queue(world, "never-announced", "story", text="Approved without asking.")
    deliver(world)
    assert scripted.calls == []
    assert states(world, "never-announced") == [("story", "dropped")]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", ["story", "remind"])
def test_a_crash_around_a_reply_leaves_it_there_once(world: World, kind: str, after: bool) -> None:
    request_id = world.announced()
    queue(world, request_id, kind, text="Rejected by bob.")
    with pytest.raises(Died):
        deliver(world, courier=Dying(world, after=after))
    assert deliver(world) == 0, "still claimed by the dead"
    world.later(minutes=2)
    assert deliver(world) == 1
    assert len(said(world, request_id)) == 1
    assert states(world, request_id)[-1] == (kind, "sent")


def test_a_reply_that_cannot_be_looked_for_is_not_said_again(world: World) -> None:
    request_id = world.announced()
    queue(world, request_id, "story", text="Rejected by bob.")
    with pytest.raises(Died):
        deliver(world, courier=Dying(world, after=True))

    class Blind(SlackChannel):
        def has_reply(self, ref: str, key: str) -> bool:
            raise ChannelError("Slack refused the call: missing_scope.")

    world.later(minutes=2)
    deliver(world, courier=Blind(world.slack.token, world.slack.channel, world.slack.url))
    assert said(world, request_id) == ["Rejected by bob."]
    assert world.outbox_rows(request_id)[-1].last_error == "Slack refused the call: missing_scope."


def test_the_same_words_in_another_thread_or_row_are_not_taken_for_it(world: World) -> None:
    first, second = world.announced(), world.announced()
    for request_id in (first, first, second):
        queue(world, request_id, "story", text="bob takes the vote back.")
    assert deliver(world) == 3
    assert (len(said(world, first)), len(said(world, second))) == (2, 1)


def test_a_later_word_never_overtakes_one_that_failed(world: World, scripted: ScriptedSlack) -> None:
    request_id = world.announced()
    queue(world, request_id, "story", text="first")
    queue(world, request_id, "story", text="second")
    scripted.will_say(500, b"")
    assert deliver(world) == 0
    assert scripted.calls == ["chat.postMessage"] * 2, "the second was not even tried"
    world.later(seconds=4)
    scripted.will_say(200, {"ok": True, "user_id": "U0APP"})
    scripted.will_say(200, {"ok": True, "messages": []})
    deliver(world)
    world.later(seconds=4)
    deliver(world)
    assert scripted.calls[2:] == [
        "auth.test",
        "conversations.replies",
        "chat.postMessage",
        "chat.postMessage",
    ]
    assert [text for text in scripted.said if text in {"first", "second"}] == ["first", "first", "second"]
    assert {state for _, state in states(world, request_id)} == {"sent"}


def test_a_word_that_is_refused_for_good_holds_up_no_other(world: World, scripted: ScriptedSlack) -> None:
    request_id = world.announced()
    queue(world, request_id, "story", text="first")
    queue(world, request_id, "story", text="second")
    scripted.will_say(200, {"ok": False, "error": "thread_not_found"})
    assert deliver(world) == 1
    assert states(world, request_id)[1:] == [("story", "failed"), ("story", "sent")]


def test_a_long_thread_is_looked_through(world: World) -> None:
    request_id = world.announced()
    ref = world.delivery(request_id).message
    world.channel.reply(ref, "the first", key="key-1")
    for number in range(205):
        world.slack.call(
            "chat.postMessage",
            channel=world.slack.channel,
            thread_ts=ref.split(":")[1],
            text=f"talk {number}",
        )
    assert world.channel.has_reply(ref, "key-1")
    assert not world.channel.has_reply(ref, "key-2")


def test_whoever_started_the_run_is_told_the_outcome_in_private(world: World) -> None:
    request_id = world.announced()
    words = f"Your request export to partner-bucket: approved. {secrets.token_hex(4)} <@U1>"
    queue(world, request_id, "outcome", recipient=world.slack.users["alice"], text=words)
    assert deliver(world) == 1
    told = world.slack.direct_messages("alice")[-1]
    assert told["text"] == words.replace("<", "&lt;").replace(">", "&gt;")
    assert "Open in Airflow" in str(told["blocks"])
    assert_valid_blocks(told["blocks"])
    assert said(world, request_id) == []


# ------------------------------------------------------------------------------- lanes


def test_a_full_conversation_stops_no_update_and_no_private_message(
    world: World, scripted: ScriptedSlack
) -> None:
    request_id = world.announced()
    queue(world, request_id, "story", text="first")
    queue(world, request_id, "update")
    queue(world, request_id, "outcome", recipient="U0ALICE", text="approved")
    queue(world, request_id, "whisper", recipient="U0BOB", text="hello")
    scripted.will_say(429, WAIT, Retry_After="17")
    assert deliver(world) == 3
    assert scripted.calls[1:] == ["chat.postMessage", "chat.update", "chat.postMessage", "chat.postEphemeral"]
    world.later(seconds=16)
    assert deliver(world) == 0
    world.later(seconds=1)
    assert deliver(world) == 1
    assert scripted.said[-1] == "first"


def test_a_method_that_is_used_up_waits_for_every_request(world: World, scripted: ScriptedSlack) -> None:
    first, second = world.announced(), world.announced()
    for request_id in (first, second):
        queue(world, request_id, "update")
    scripted.will_say(429, WAIT, Retry_After="30")
    assert deliver(world) == 0
    assert scripted.calls[2:] == ["chat.update"], "updates are counted for the whole workspace"
    world.later(seconds=30)
    assert deliver(world) == 2


def test_one_full_private_conversation_stops_no_other(world: World, scripted: ScriptedSlack) -> None:
    request_id = world.announced()
    for account in ("U0ALICE", "U0BOB"):
        queue(world, request_id, "outcome", recipient=account, text="approved")
    scripted.will_say(429, WAIT, Retry_After="30")
    assert deliver(world) == 1
    waiting = [row.recipient for row in world.outbox_rows(request_id) if row.state == "due"]
    assert waiting == ["U0ALICE"]


def test_what_is_queued_while_a_conversation_waits_waits_as_well(
    world: World, scripted: ScriptedSlack
) -> None:
    first = world.new_request()
    scripted.will_say(429, WAIT, Retry_After="60")
    assert deliver(world) == 0
    second = world.new_request()
    assert deliver(world) == 0
    assert scripted.calls == ["chat.postMessage"], "a new row is no reason to ask again"
    assert world.outbox_rows(second)[0].attempts == 0
    world.later(seconds=60)
    assert deliver(world) == 2
    assert int(world.delivery(first).message[-6:]) < int(world.delivery(second).message[-6:])


def test_messages_that_stand_elsewhere_do_not_wait_for_this_conversation(
    world: World, scripted: ScriptedSlack
) -> None:
    old = world.announced()
    world.channel = SlackChannel("xoxb-scripted", "C0NEW", scripted.url)
    world.new_request()
    scripted.will_say(429, WAIT, Retry_After="60")
    assert deliver(world) == 0
    queue(world, old, "story", text="said in the old conversation")
    assert deliver(world) == 1
    assert scripted.said[-1] == "said in the old conversation"


def test_a_process_that_dies_forgets_no_request_to_wait(world: World, scripted: ScriptedSlack) -> None:
    request_id = world.announced()
    queue(world, request_id, "story", text="first")

    class Dies(SlackChannel):
        def reply(self, *arguments: Any, **named: Any) -> None:
            raise RetryLaterError("Slack asks to wait.", 60)

    deliver(world, courier=Dies("xoxb-scripted", "C0SCRIPTED", scripted.url))
    queue(world, request_id, "story", text="second")
    world.channel = SlackChannel("xoxb-scripted", "C0SCRIPTED", scripted.url)
    assert deliver(world) == 0
    world.later(seconds=60)
    assert deliver(world) == 2
    assert scripted.said[-2:] == ["first", "second"]


@pytest.mark.parametrize("code", ["invalid_blocks", "msg_blocks_too_long", "messages_tab_disabled"])
def test_what_slack_will_never_take_is_given_up_at_once(
    world: World, scripted: ScriptedSlack, code: str
) -> None:
    scripted.will_say(200, {"ok": False, "error": code})
    with pytest.raises(DeliveryRefusedError, match=code):
        world.channel.tell("U0ALICE", "hello", world.run(lambda s: world.facts(s, "r")))


def test_a_message_stays_up_to_date_while_its_thread_is_refused(
    world: World, scripted: ScriptedSlack
) -> None:
    request_id = world.announced()
    queue(world, request_id, "story", text="first")
    world.closed[request_id] = RequestState.APPROVED
    queue(world, request_id, "update")
    scripted.will_say(500, b"")
    assert deliver(world) == 1
    assert states(world, request_id)[-1] == ("update", "sent")
