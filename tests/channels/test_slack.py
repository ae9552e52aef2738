from __future__ import annotations

import logging
import secrets
from datetime import UTC, datetime, timedelta

import pytest

from airflow_approvals.channels.failures import DeliveryRefusedError, RetryLaterError
from airflow_approvals.channels.slack import SlackChannel
from airflow_approvals.core.models import RequestState
from airflow_approvals.errors import ChannelError, ConfigurationError
from tests.channels.facts_for_tests import some_facts
from tests.channels.scripted_slack import ScriptedSlack
from tests.live.slack_emulator import OTHER_TOKEN

TOKEN = "xoxb-canary-token"


@pytest.fixture
def facts():
    return some_facts(request_id=secrets.token_urlsafe(12))


@pytest.fixture
def channel(slack):
    return SlackChannel(slack.token, slack.channel, slack.url)


@pytest.fixture
def scripted():
    with ScriptedSlack() as server:
        yield server


def an_hour_ago():
    return datetime.now(UTC) - timedelta(hours=1)


def action_ids(message):
    return [e["action_id"] for b in message["blocks"] if b["type"] == "actions" for e in b["elements"]]


def test_a_request_is_posted_and_brought_up_to_date(slack, channel, facts):
    ref = channel.post(facts)
    posted = slack.message_of(facts.request_id)
    assert ref == f"{slack.channel}:{posted['ts']}"
    assert action_ids(posted) == ["approvals_approve", "approvals_reject"]
    assert posted["metadata"]["event_payload"] == {"request_id": facts.request_id}

    channel.update(ref, some_facts(request_id=facts.request_id, state=RequestState.REJECTED))
    updated = slack.message_of(facts.request_id)
    assert updated["ts"] == posted["ts"]
    assert action_ids(updated) == []
    assert updated["text"].startswith("Rejected: export to partner-bucket")


def test_a_mention_in_what_others_wrote_arrives_escaped(slack, channel):
    facts = some_facts(
        request_id=secrets.token_urlsafe(12), author_body="<!channel> & <@U123>", sink="<!here>"
    )
    channel.post(facts)
    posted = slack.message_of(facts.request_id)
    assert "<!" not in str(posted)
    assert "&lt;!channel&gt; &amp; &lt;@U123&gt;" in str(posted["blocks"])
    assert "&lt;!here&gt;" in posted["text"]


def test_a_whisper_reaches_one_person_as_text(slack, channel):
    words = f"You started this run <{secrets.token_hex(4)}>."
    channel.whisper(slack.users["alice"], words)
    escaped = words.replace("<", "&lt;").replace(">", "&gt;")
    assert slack.whispers()[0] == ("alice", escaped)
    assert all(escaped not in message["text"] for message in slack.messages())


def test_a_posted_message_is_found_again(channel, facts):
    assert channel.find(facts.request_id, since=an_hour_ago(), place=channel.channel) is None
    ref = channel.post(facts)
    assert channel.find(facts.request_id, since=an_hour_ago(), place=channel.channel) == ref


def test_it_is_found_however_many_came_after_it(slack, channel, facts):
    ref = channel.post(facts)
    for number in range(205):
        slack.call("chat.postMessage", channel=slack.channel, text=f"talk {number}")
    assert channel.find(facts.request_id, since=an_hour_ago(), place=channel.channel) == ref


def test_a_look_alike_of_another_account_is_not_ours(slack, channel, facts):
    channel.post(facts)
    impostor = SlackChannel(OTHER_TOKEN, slack.channel, slack.url)
    other = some_facts(request_id=secrets.token_urlsafe(12))
    impostor.post(other)
    assert slack.message_of(other.request_id)["user"] != slack.message_of(facts.request_id)["user"]
    assert channel.find(other.request_id, since=an_hour_ago(), place=channel.channel) is None


def test_what_can_never_work_is_told_apart(slack, channel, facts):
    with pytest.raises(DeliveryRefusedError, match="message_not_found"):
        channel.update(f"{slack.channel}:1.000001", facts)
    with pytest.raises(DeliveryRefusedError, match="user_not_found"):
        channel.whisper("U0NOBODY", "hello")


def test_a_refusal_names_the_reason_and_the_way_out(slack, facts):
    with pytest.raises(ChannelError, match=r"channel_not_found.*slack_channel") as caught:
        SlackChannel(slack.token, "C0NOWHERE", slack.url).post(facts)
    assert not isinstance(caught.value, DeliveryRefusedError | RetryLaterError)


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("0", 1.0), ("999999", 3600.0), ("soon", 30.0), (None, 30.0)]
)
def test_too_many_calls_are_answered_by_waiting_and_not_by_trying_again(scripted, facts, header, seconds):
    headers = {} if header is None else {"Retry_After": header}
    scripted.will_say(429, {"ok": False, "error": "ratelimited"}, **headers)
    with pytest.raises(RetryLaterError) as caught:
        SlackChannel(TOKEN, "C0123", scripted.url).post(facts)
    assert caught.value.seconds == seconds
    assert scripted.calls == ["chat.postMessage"]


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (500, b"<html>boom</html>"),
        (503, {"ok": False, "error": "service_unavailable"}),
        (200, b"not json"),
        (200, {"ok": False, "error": "invalid_auth"}),
        (200, {"ok": False, "error": "<script>" * 99}),
        (200, {"ok": False}),
        (200, []),
        (200, {"ok": True}),
    ],
)
def test_every_failure_is_one_error_without_the_token(scripted, facts, caplog, status, answer):
    caplog.set_level(logging.DEBUG)
    scripted.will_say(status, answer)
    with pytest.raises(ChannelError) as caught:
        SlackChannel(TOKEN, "C0123", scripted.url).post(facts)
    assert TOKEN not in repr(caught.value) + caplog.text
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert len(scripted.calls) == 1


def test_nobody_listening_is_a_channel_error(facts):
    with pytest.raises(ChannelError, match="could not be reached"):
        SlackChannel(TOKEN, "C0123", "http://127.0.0.1:9/api/").post(facts)


def test_a_history_without_end_is_an_error_and_not_an_absence(scripted, facts):
    scripted.will_say(200, {"ok": True, "user_id": "U0APP"})
    for _ in range(6):
        page = {"ok": True, "messages": [{"ts": "1.1"}], "response_metadata": {"next_cursor": "more"}}
        scripted.will_say(200, page)
    with pytest.raises(ChannelError, match="too long"):
        SlackChannel(TOKEN, "C0123", scripted.url).find(facts.request_id, since=an_hour_ago(), place="C0123")


@pytest.mark.parametrize("name", ["#approvals", "approvals", "", "U0123456", "C0123 "])
def test_a_channel_is_named_by_its_id(name):
    with pytest.raises(ConfigurationError, match="slack_channel"):
        SlackChannel(TOKEN, name)


@pytest.mark.parametrize("url", ["http://slack.example/api/", "ftp://127.0.0.1/", "slack.com/api", ""])
def test_the_token_is_never_sent_in_the_clear(url):
    with pytest.raises(ConfigurationError, match="slack_api_url"):
        SlackChannel(TOKEN, "C0123", url)
