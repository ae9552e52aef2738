from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import suppress

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from airflow_approvals.api.slack import MAX_BODY_BYTES, SlackDoor, router, signing_secrets
from airflow_approvals.channels.slack_interaction import parse_interaction
from airflow_approvals.channels.slack_messages import render
from airflow_approvals.chat import slack_callbacks
from airflow_approvals.chat.slack_callbacks import Answer
from airflow_approvals.config.settings import Settings
from airflow_approvals.control import outbox
from airflow_approvals.core.models import Verdict
from airflow_approvals.errors import ConfigurationError
from tests.channels.facts_for_tests import some_facts
from tests.control.slack_world import SELF_APPROVAL, a_world
from tests.live import slack_clicks
from tests.live.slack_emulator import SlackEmulator

SECRET = "canary-signing-secret"
PATH = "/slack/interactions"


class Door:
    """A door whose effects can be looked at."""

    def __init__(self):
        self.secrets = (SECRET,)
        self.kept = {}
        self.processed = 0
        self.answer = None

    def take(self, callback_id, payload):
        said = parse_interaction(payload)
        self.kept.setdefault(callback_id, said)
        return self.answer or Answer(after=self.process)

    def process(self):
        self.processed += 1

    def opened(self):
        return SlackDoor(secrets=lambda: self.secrets, take=self.take)


def app_with(door):
    app = FastAPI()
    app.include_router(router)
    if door is not None:
        app.state.slack_door = door
    return app


@pytest.fixture
def door():
    return Door()


@pytest.fixture
def client(door):
    # A fault in the app would be raised here rather than hidden in a 500.
    with TestClient(app_with(door.opened())) as made:
        yield made


MESSAGE = {"ts": "1700000000.000100", "blocks": render(some_facts()).blocks}


def a_body(**changes):
    made = slack_clicks.payload(
        message=MESSAGE, channel="C0123", action_id=slack_clicks.APPROVE, user="U0BOB", team="T0TEAM"
    )
    return slack_clicks.encode(made | changes)


def post(client, body, headers=None):
    return client.post(
        PATH, content=body, headers=slack_clicks.sign(SECRET, body) if headers is None else headers
    )


def test_a_signed_click_is_kept_acknowledged_and_worked_on(client, door):
    answer = post(client, a_body())
    assert (answer.status_code, answer.content) == (200, b"")
    (click,) = door.kept.values()
    assert (click.request_id, click.verdict, click.user) == ("req-1", Verdict.APPROVE, "U0BOB")
    assert door.processed == 1


def test_it_is_kept_before_the_answer_and_worked_on_after_it(door):
    order = []
    opened = SlackDoor(
        secrets=lambda: (SECRET,),
        take=lambda callback_id, payload: (
            order.append("kept") or Answer(after=lambda: order.append("processed"))
        ),
    )
    app = app_with(opened)

    async def send(message):
        order.append(message["type"])

    body = a_body()
    headers = [(n.lower().encode(), v.encode()) for n, v in slack_clicks.sign(SECRET, body).items()]
    scope = {
        "type": "http",
        "method": "POST",
        "path": PATH,
        "raw_path": PATH.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "http_version": "1.1",
        "scheme": "http",
    }
    parts = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive():
        return next(parts, {"type": "http.disconnect"})

    asyncio.run(app(scope, receive, send))
    assert order == ["kept", "http.response.start", "http.response.body", "processed"]


def test_work_steps_aside_for_whoever_waits_for_an_acknowledgement(monkeypatch):
    monkeypatch.setattr("airflow_approvals.api.slack._STEP_ASIDE_SECONDS", 30.0)
    order, first_is_kept, second_waits = [], threading.Event(), threading.Event()

    def take(callback_id, payload):
        if payload["user"]["id"] == "U0LATE":
            second_waits.set()
            time.sleep(0.2)
            order.append("second kept")
            return Answer()
        first_is_kept.set()
        assert second_waits.wait(60)
        return Answer(after=lambda: order.append("first worked on"))

    late = a_body(user={"id": "U0LATE", "team_id": "T0TEAM"})
    with TestClient(app_with(SlackDoor(secrets=lambda: (SECRET,), take=take))) as client:
        thread = threading.Thread(target=post, args=(client, a_body()))
        thread.start()
        assert first_is_kept.wait(60)
        assert post(client, late).status_code == 200
        thread.join(60)
    assert order == ["second kept", "first worked on"]


def test_what_cannot_be_kept_is_not_acknowledged(door):
    def fails(callback_id, payload):
        raise OSError("the database is away")

    app = app_with(SlackDoor(secrets=lambda: (SECRET,), take=fails))
    with TestClient(app, raise_server_exceptions=False) as client:
        assert post(client, a_body()).status_code == 500
    assert door.processed == 0


def test_a_replay_is_acknowledged_without_a_second_effect(client, door):
    body = a_body()
    headers = slack_clicks.sign(SECRET, body)
    assert [post(client, body, headers).status_code for _ in range(2)] == [200, 200]
    assert len(door.kept) == 1


@pytest.mark.parametrize("seconds", [-301, 360])
def test_an_old_or_early_signature_is_refused(client, door, seconds):
    body = a_body()
    answer = post(client, body, slack_clicks.sign(SECRET, body, at=time.time() + seconds))
    assert (answer.status_code, answer.json()["code"]) == (401, "signature_rejected")
    assert door.kept == {}


def test_a_re_encoded_body_is_refused(client, door):
    body = a_body()
    headers = slack_clicks.sign(SECRET, body)
    assert post(client, body.replace(b"+", b"%20"), headers).status_code == 401
    assert door.kept == {}


@pytest.mark.parametrize("name", ["X-Slack-Signature", "X-Slack-Request-Timestamp"])
def test_a_missing_or_repeated_header_is_refused(client, name):
    body = a_body()
    headers = slack_clicks.sign(SECRET, body)
    assert post(client, body, {k: v for k, v in headers.items() if k != name}).status_code == 401
    assert post(client, body, [*headers.items(), (name, headers[name])]).status_code == 401


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(timestamp=st.binary(max_size=30), signature=st.binary(max_size=80), body=st.binary(max_size=200))
def test_hostile_headers_and_bodies_are_refused_and_never_an_error(client, door, timestamp, signature, body):
    pairs = [(b"X-Slack-Request-Timestamp", timestamp), (b"X-Slack-Signature", signature)]
    with suppress(httpx.LocalProtocolError):
        assert post(client, body, pairs).status_code == 401
    assert door.kept == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"payload=%7B",
        b"payload=%FF",
        b"\xff",
        b"ssl_check=1",
        a_body(type="shortcut"),
        a_body(team=None),
    ],
)
def test_what_is_signed_but_no_click_of_ours_is_refused(client, door, body):
    signed = body.decode(errors="ignore").encode() == body
    answer = post(client, body)
    assert answer.status_code == (400 if signed else 401)
    assert door.kept == {}


def test_a_body_over_the_cap_is_refused_without_reading_it_all(client, door):
    read = []

    def endless():
        for _ in range(1000):
            read.append(1)
            yield b"x" * 1024

    assert post(client, b"x" * (MAX_BODY_BYTES + 1)).status_code == 413
    assert post(client, endless(), {}).status_code == 413
    assert post(client, b"x" * MAX_BODY_BYTES).status_code == 400
    assert door.kept == {}


def test_a_database_that_does_not_take_it_is_told_without_what_the_person_wrote(door, caplog):
    def take(callback_id, payload):
        raise OperationalError("INSERT", {"payload": "canary-reason"}, Exception("canary-reason"))

    door.take = take
    with TestClient(app_with(door.opened())) as shut:
        answer = post(shut, a_body())
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "could not write down what Slack sent" in caplog.text
    assert "canary-reason" not in caplog.text + answer.text


@pytest.mark.parametrize("secrets", [(), None])
def test_without_a_secret_or_a_door_the_route_is_shut_even_to_valid_signatures(door, secrets):
    door.secrets = secrets
    app = app_with(None if secrets is None else door.opened())
    with TestClient(app) as client:
        assert post(client, a_body()).status_code == 503
    assert door.kept == {}


def test_a_secret_file_that_cannot_be_read_shuts_the_route(tmp_path, door):
    broken = Settings(slack_signing_secret_file=tmp_path / "absent")
    app = app_with(SlackDoor(secrets=lambda: signing_secrets(broken), take=door.take))
    with TestClient(app) as client:
        answer = post(client, a_body())
    assert (answer.status_code, answer.json()["code"]) == (503, "configuration_error")
    assert str(tmp_path) not in answer.text


def test_a_secret_can_be_rotated_without_a_restart(client, door):
    body = a_body()
    old, new = slack_clicks.sign(SECRET, body), slack_clicks.sign("new", body)
    door.secrets = ("new", SECRET)
    assert [post(client, body, headers).status_code for headers in (old, new)] == [200, 200]
    door.secrets = ("new",)
    assert post(client, body, old).status_code == 401


def test_the_secrets_come_from_the_file(tmp_path):
    file = tmp_path / "secret"
    file.touch(mode=0o600)
    file.write_text("old\nnew\n")
    assert signing_secrets(Settings(slack_signing_secret_file=file)) == ("old", "new")
    assert signing_secrets(Settings()) == ()
    file.write_text("a\nb\nc\n")
    with pytest.raises(ConfigurationError):
        signing_secrets(Settings(slack_signing_secret_file=file))


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
def test_other_methods_change_nothing(client, door, method):
    body = a_body()
    assert (
        client.request(method, PATH, content=body, headers=slack_clicks.sign(SECRET, body)).status_code == 405
    )
    assert door.kept == {}


def test_nothing_that_was_refused_is_logged(client, caplog):
    caplog.set_level(logging.DEBUG)
    body = a_body(marker="canary-in-the-body")
    headers = slack_clicks.sign("another secret", body)
    answer = post(client, body, headers)
    assert answer.status_code == 401
    for secret in ("canary-in-the-body", headers["X-Slack-Signature"], SECRET):
        assert secret not in caplog.text + answer.text


@pytest.fixture(scope="module")
def slack():
    with SlackEmulator() as emulator:
        yield emulator


def test_from_the_click_to_the_message_with_everything_real_but_the_policy(tmp_path, slack):
    with a_world(tmp_path, slack) as world:
        request_id = world.announced()

        def take(callback_id, payload):
            return slack_callbacks.take_with(world.chat_deps, callback_id, payload, after=lambda: None)

        with TestClient(app_with(SlackDoor(secrets=lambda: (SECRET,), take=take))) as client:
            for who in ("alice", "bob"):
                interaction = slack_clicks.payload(
                    message=slack.message_of(request_id),
                    channel=slack.channel,
                    action_id=slack_clicks.APPROVE,
                    user=slack.users[who],
                    team=slack.team,
                )
                assert post(client, slack_clicks.encode(interaction)).content == b""
            (view,) = world.opened
            sent = slack_clicks.submission(
                view=view, user=slack.users["bob"], team=slack.team, answers={"reason": "looked at it"}
            )
            answer = post(client, slack_clicks.encode(sent))
            closed = slack_clicks.submission(
                view=view, user=slack.users["bob"], team=slack.team, answers={}, kind="view_closed"
            )
            assert post(client, slack_clicks.encode(closed)).content == b""
        assert (answer.status_code, answer.json()) == (200, {"response_action": "clear"})
        outbox.deliver_due(world.outbox_deps())
        assert [(name, verdict) for _, name, verdict, _ in world.decided] == [("bob", Verdict.APPROVE)]
        assert world.reasons == [("looked at it", "")]
        assert ("alice", SELF_APPROVAL.sentence) in slack.whispers()
        assert slack.message_of(request_id)["text"].startswith("Approved")
        with pytest.raises(AssertionError, match="no button"):
            slack_clicks.payload(
                message=slack.message_of(request_id),
                channel=slack.channel,
                action_id=slack_clicks.APPROVE,
                user=slack.users["bob"],
                team=slack.team,
            )
