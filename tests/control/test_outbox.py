from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_approvals.channels.failures import RetryLaterError
from airflow_approvals.channels.slack import SlackChannel
from airflow_approvals.config.settings import Settings
from airflow_approvals.control import media, outbox
from airflow_approvals.core.models import RequestState
from airflow_approvals.errors import ChannelError, ConfigurationError
from airflow_approvals.store import outbox as rows
from tests.channels.scripted_slack import ScriptedSlack
from tests.control.slack_world import a_world
from tests.live.slack_emulator import SlackEmulator


@pytest.fixture(scope="module")
def slack():
    with SlackEmulator() as emulator:
        yield emulator


@pytest.fixture
def world(tmp_path, slack):
    with a_world(tmp_path, slack) as made:
        yield made


@pytest.fixture
def scripted(world):
    """The world's Slack, replaced by one that answers as it is told."""
    with ScriptedSlack() as server:
        world.channel = SlackChannel("xoxb-scripted", "C0SCRIPTED", server.url)
        yield server


class Died(BaseException):
    """The process ends here: nothing in it gets to tidy up."""


class Dying(SlackChannel):
    """Dies right before or right after its post reaches Slack."""

    def __init__(self, world, *, after):
        super().__init__(world.slack.token, world.slack.channel, world.slack.url)
        self.after = after

    def post(self, facts):
        if self.after:
            super().post(facts)
        raise Died


def deliver(world, **changes):
    return outbox.deliver_due(world.outbox_deps(**changes))


def states(world, request_id):
    return [(row.kind, row.state) for row in world.outbox_rows(request_id)]


def has_buttons(message):
    return any(block["type"] == "actions" for block in message["blocks"])


def queue(world, request_id, kind, **more):
    world.run(lambda session: rows.add(session, request_id, kind, channel="slack", now=world.now, **more))


def test_a_request_is_announced_once(world):
    request_id = world.new_request()
    assert deliver(world) == 1
    message = world.slack.message_of(request_id)
    assert has_buttons(message)
    assert world.delivery(request_id).message == f"{world.slack.channel}:{message['ts']}"
    assert states(world, request_id) == [("request", "sent")]
    assert deliver(world) == 0


def test_a_second_announcement_of_the_same_request_is_not_posted(world):
    request_id = world.announced()
    queue(world, request_id, "request")
    deliver(world)
    assert world.slack.message_of(request_id)
    assert states(world, request_id) == [("request", "sent")] * 2


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_around_the_post_leaves_one_live_message(world, after):
    request_id = world.new_request()
    with pytest.raises(Died):
        deliver(world, courier=Dying(world, after=after))
    assert deliver(world) == 0  # still claimed by the dead
    world.later(minutes=2)
    assert deliver(world) == 1
    message = world.slack.message_of(request_id)  # exactly one
    assert world.delivery(request_id).message.endswith(message["ts"])


def test_a_lost_post_that_is_found_shows_what_holds_now(world):
    request_id = world.new_request()
    with pytest.raises(Died):
        deliver(world, courier=Dying(world, after=True))
    world.closed[request_id] = RequestState.EXPIRED
    world.later(minutes=2)
    deliver(world)
    assert not has_buttons(world.slack.message_of(request_id))


def test_when_the_lost_post_cannot_be_looked_for_nothing_is_posted(world):
    request_id = world.new_request()
    with pytest.raises(Died):
        deliver(world, courier=Dying(world, after=True))

    class Blind(SlackChannel):
        def find(self, request_id, *, since, place):
            raise ChannelError("Slack refused the call: missing_scope.")

    world.later(minutes=2)
    assert deliver(world, courier=Blind(world.slack.token, world.slack.channel, world.slack.url)) == 0
    assert world.slack.message_of(request_id)
    assert world.outbox_rows(request_id)[0].last_error == "Slack refused the call: missing_scope."


def test_the_message_is_brought_up_to_date_after_a_decision(world):
    request_id = world.announced()
    world.closed[request_id] = RequestState.APPROVED
    queue(world, request_id, "update")
    assert deliver(world) == 1
    message = world.slack.message_of(request_id)
    assert not has_buttons(message)
    assert message["text"].startswith("Approved:")


def test_several_updates_of_a_request_are_sent_as_one(world, scripted):
    request_id = world.announced()
    for _ in range(3):
        queue(world, request_id, "update")
    assert deliver(world) == 3
    assert scripted.calls == ["chat.postMessage", "chat.update"]
    assert {state for _, state in states(world, request_id)} == {"sent"}


def test_an_update_waits_for_the_message_it_is_about(world, scripted):
    request_id = world.new_request()
    queue(world, request_id, "update")
    scripted.will_say(500, b"")
    assert deliver(world) == 0
    assert states(world, request_id) == [("request", "due"), ("update", "due")]
    world.later(seconds=10)
    scripted.will_say(200, {"ok": True, "user_id": "U0APP"})
    scripted.will_say(200, {"ok": True, "messages": []})
    deliver(world)
    world.later(seconds=10)
    deliver(world)
    assert [name for name in scripted.calls if name.startswith("chat.")][-2:] == [
        "chat.postMessage",
        "chat.update",
    ]
    assert {state for _, state in states(world, request_id)} == {"sent"}


def test_an_update_without_a_message_ever_is_dropped(world, scripted):
    queue(world, "never-announced", "update")
    deliver(world)
    assert scripted.calls == []
    assert states(world, "never-announced") == [("update", "sent")]


def test_a_change_while_a_message_is_under_way_is_caught_up_with(world):
    request_id = world.new_request()

    class Slow(SlackChannel):
        def post(self, facts):
            ref = super().post(facts)
            world.closed[request_id] = RequestState.WITHDRAWN  # meanwhile, and nobody queued it
            return ref

    deliver(world, courier=Slow(world.slack.token, world.slack.channel, world.slack.url))
    assert has_buttons(world.slack.message_of(request_id))
    assert deliver(world) == 1
    assert not has_buttons(world.slack.message_of(request_id))
    assert deliver(world) == 0


def test_a_request_to_wait_is_honoured_for_the_whole_channel_and_in_order(world, scripted):
    first, second = world.new_request(), world.new_request()
    scripted.will_say(429, {"ok": False, "error": "ratelimited"}, Retry_After="17")
    assert deliver(world) == 0
    assert scripted.calls == ["chat.postMessage"]  # the second was not even tried
    world.later(seconds=16)
    assert deliver(world) == 0
    assert len(scripted.calls) == 1
    world.later(seconds=1)
    assert deliver(world) == 2
    # Nothing was sent when Slack asked to wait, so nothing had to be looked for.
    assert scripted.calls[1:] == ["chat.postMessage"] * 2
    assert int(world.delivery(first).message[-6:]) < int(world.delivery(second).message[-6:])


def test_being_asked_to_wait_never_uses_up_the_attempts(world, scripted):
    request_id = world.new_request()
    for _ in range(outbox.MAX_ATTEMPTS + 5):
        scripted.will_say(429, {"ok": False, "error": "ratelimited"}, Retry_After="1")
        deliver(world)
        world.later(seconds=1)
    assert deliver(world) == 1
    assert states(world, request_id) == [("request", "sent")]


def test_failures_are_retried_ever_more_slowly_and_then_given_up(world, scripted):
    queue(world, "r-1", "whisper", recipient="U0ALICE", text="hello")
    waits = []
    for _ in range(outbox.MAX_ATTEMPTS):
        scripted.will_say(500, b"")
        assert deliver(world) == 0
        row = world.outbox_rows("r-1")[0]
        waits.append(row.due_at - world.now)
        world.now = max(world.now, row.due_at)
    assert len(scripted.calls) == outbox.MAX_ATTEMPTS
    assert waits[0] == timedelta(seconds=2)
    assert waits[:-1] == sorted(waits[:-1])
    assert max(waits[:-1]) == timedelta(minutes=5)
    assert states(world, "r-1") == [("whisper", "failed")]
    (entry,) = world.entries
    assert (entry.kind, entry.request_id) == ("delivery_failed", "r-1")
    assert entry.details == {
        "medium": "slack",
        "kind": "whisper",
        "error": "Slack refused the call: http_500.",
        "attempts": 20,
    }
    assert world.given_up == ["r-1"], "the page says so, once"
    world.later(days=1)
    assert deliver(world) == 0


def test_what_is_refused_for_good_is_given_up_at_once(world):
    queue(world, "r-1", "whisper", recipient="U0NOBODY", text="hello")
    deliver(world)
    assert states(world, "r-1") == [("whisper", "failed")]
    assert [entry.kind for entry in world.entries] == ["delivery_failed"]


def test_a_page_that_cannot_be_shown_holds_up_no_message(world):
    queue(world, "r-1", "whisper", recipient="U0NOBODY", text="hello")
    good = world.new_request()

    def fault(request_id):
        raise KeyError("a fault")

    assert deliver(world, given_up=fault) == 1
    assert world.slack.message_of(good)


def test_one_request_that_cannot_be_shown_does_not_hold_up_the_others(world):
    broken, good = world.new_request(), world.new_request()

    def facts(session, request_id):
        if request_id == broken:
            raise KeyError("a fault")
        return world.facts(session, request_id)

    assert deliver(world, facts=facts) == 1
    assert world.slack.message_of(good)
    assert world.outbox_rows(broken)[0].last_error == "KeyError"


def test_a_whisper_goes_where_the_message_stands(world):
    request_id = world.announced()
    queue(world, request_id, "whisper", recipient=world.slack.users["bob"], text=f"about {request_id}")
    assert deliver(world) == 1
    assert world.slack.whispers()[0] == ("bob", f"about {request_id}")


def test_two_senders_never_send_the_same_row(world):
    request_id = world.new_request()

    class Nested(SlackChannel):
        def post(self, facts):
            assert deliver(world) == 0  # another process comes round meanwhile
            return super().post(facts)

    assert deliver(world, courier=Nested(world.slack.token, world.slack.channel, world.slack.url)) == 1
    assert world.slack.message_of(request_id)


def test_an_update_that_was_overwritten_by_an_older_one_is_made_again(world):
    """P1 reads, P2 reads and sends the decision, P1's call arrives last but is answered first."""
    request_id = world.announced()
    queue(world, request_id, "update")

    class Older(SlackChannel):
        def update(self, ref, facts):
            world.closed[request_id] = RequestState.APPROVED
            queue(world, request_id, "update")
            # The other process has claimed the new row and is still waiting for its answer.
            newer = world.outbox_rows(request_id)[-1].id
            world.run(lambda s: rows.claim(s, newer, now=world.now, until=world.now + outbox.CLAIM))
            return super().update(ref, facts)

    deliver(world, courier=Older(world.slack.token, world.slack.channel, world.slack.url))
    assert has_buttons(world.slack.message_of(request_id))
    deliver(world)
    assert not has_buttons(world.slack.message_of(request_id))


def test_a_row_that_is_being_sent_holds_nobody_as_if_the_vendor_had_asked(world, scripted):
    first, second = world.new_request(), world.new_request()
    scripted.will_say(429, {"ok": False, "error": "ratelimited"}, Retry_After="30")
    deliver(world)
    world.later(seconds=31)
    (row,) = world.outbox_rows(first)
    world.run(lambda s: rows.claim(s, row.id, now=world.now, until=world.now + outbox.CLAIM))
    scripted.will_say(200, {"ok": True, "ts": "1.1", "channel": "C0123"})
    deliver(world)
    assert states(world, second) == [("request", "sent")]


def test_a_lost_post_is_looked_for_where_it_was_made(world):
    request_id = world.new_request()
    with pytest.raises(Died):
        deliver(world, courier=Dying(world, after=True))
    world.later(minutes=2)
    elsewhere = SlackChannel(world.slack.token, "C0ELSEWHERE", world.slack.url)
    assert deliver(world, courier=elsewhere) == 1
    message = world.slack.message_of(request_id)
    assert world.delivery(request_id).message == f"{world.slack.channel}:{message['ts']}"


def test_a_request_to_wait_while_looking_keeps_the_reservation(world):
    request_id = world.new_request()
    with pytest.raises(Died):
        deliver(world, courier=Dying(world, after=True))

    class Busy(SlackChannel):
        def find(self, request_id, *, since, place):
            raise RetryLaterError("Slack asks to wait.", 1.0)

    world.later(minutes=2)
    deliver(world, courier=Busy(world.slack.token, world.slack.channel, world.slack.url))
    assert world.delivery(request_id).message == ""
    world.later(minutes=2)
    assert deliver(world) == 1
    assert world.slack.message_of(request_id)


COMPLETE = Settings(
    slack_bot_token_file=Path("token"), slack_signing_secret_file=Path("secret"), slack_channel="C0123"
)


@pytest.mark.parametrize("missing", ["slack_bot_token_file", "slack_signing_secret_file", "slack_channel"])
def test_slack_is_configured_when_all_three_options_are_there(missing):
    assert media.slack_configured(COMPLETE)
    incomplete = replace(COMPLETE, **{missing: None})
    assert not media.slack_configured(incomplete)
    assert media.missing_slack_options(incomplete) == (missing,)


def test_the_channel_is_built_from_the_settings(tmp_path, world):
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(f"{world.slack.token}\n")
    settings = replace(
        COMPLETE, slack_bot_token_file=token, slack_channel=world.slack.channel, slack_api_url=world.slack.url
    )
    world.channel = media.slack_channel(settings)
    assert world.slack.message_of(world.announced())


def test_without_settings_there_is_no_channel_and_a_missing_file_is_an_error(tmp_path):
    assert media.slack_channel(Settings()) is None
    with pytest.raises(ConfigurationError, match="slack_bot_token_file"):
        media.slack_channel(replace(COMPLETE, slack_bot_token_file=tmp_path / "absent"))
