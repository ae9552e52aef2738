"""Socket Mode through the SDK's real client, against a server with Slack's limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from slack_sdk.socket_mode.builtin.connection import ConnectionState
from websockets.exceptions import ConnectionClosed

from airflow_approvals.channels import slack_socket
from airflow_approvals.channels.slack_socket import Socket, SocketFatalError
from airflow_approvals.errors import ChannelError
from tests.channels.socket_mode_server import TOKEN, SocketModeServer, a_socket_mode_server


@pytest.fixture
def slack() -> Iterator[SocketModeServer]:
    with a_socket_mode_server() as server:
        yield server


class Taken:
    """Remembers envelopes; answers each with ``reply``."""

    def __init__(self, reply: Mapping[str, Any] | None = None, wait: float = 0.0) -> None:
        self.reply, self.wait = reply, wait
        self.envelopes: list[tuple[str, str, Mapping[str, Any]]] = []

    def __call__(self, envelope_id: str, kind: str, payload: Mapping[str, Any]) -> Mapping[str, Any] | None:
        time.sleep(self.wait)
        self.envelopes.append((envelope_id, kind, payload))
        return self.reply


@pytest.fixture
def opened(slack: SocketModeServer) -> Iterator[Callable[..., Socket]]:
    sockets: list[Socket] = []

    def open_socket(take: Taken, token: str = TOKEN) -> Socket:
        socket = Socket(token, slack.api_url, take)
        sockets.append(socket)
        socket.connect()
        # The client goes on with the handshake's answer; the server may have the connection after that.
        slack.until_connections(len(sockets))
        return socket

    yield open_socket
    for socket in sockets:
        socket.close()


def until(look: Callable[[], bool], patience: float = 20.0) -> None:
    deadline = time.monotonic() + patience
    while not look():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_an_envelope_is_taken_and_acknowledged_with_the_answer(slack, opened) -> None:
    taken = Taken({"response_action": "clear"})
    socket = opened(taken)
    envelope = slack.send({"type": "view_submission"})
    assert slack.until_acknowledged(envelope) == {"response_action": "clear"}
    assert taken.envelopes == [(envelope, "interactive", {"type": "view_submission"})]
    until(lambda: socket.ack_seconds > 0)
    assert socket.connections == 1


def test_an_empty_answer_acknowledges_and_none_does_not(slack, opened) -> None:
    taken = Taken({})
    opened(taken)
    assert slack.until_acknowledged(slack.send({})) is None
    taken.reply = None
    envelope = slack.send({})
    until(lambda: len(taken.envelopes) == 2)
    time.sleep(0.3)
    assert envelope not in slack.acknowledged


def test_a_slow_one_holds_up_no_other(slack, opened) -> None:
    first, gate = threading.Event(), threading.Event()

    def take(envelope_id: str, kind: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        if not first.is_set():
            first.set()
            gate.wait(20)
        return {}

    opened(take)
    slow = slack.send({})
    first.wait(20)
    assert slack.until_acknowledged(slack.send({})) is None
    assert slow not in slack.acknowledged
    gate.set()
    slack.until_acknowledged(slow)


@pytest.mark.parametrize("reason", ["warning", "refresh_requested"])
def test_a_refresh_brings_a_new_connection_and_loses_no_click(slack, opened, reason: str) -> None:
    opened(Taken({}))
    before = slack.opened
    slack.disconnect(reason)
    until(lambda: slack.opened == before + 1)
    slack.until_connections(1)
    slack.until_acknowledged(slack.send({}))


def test_a_connection_that_drops_comes_back(slack, opened, monkeypatch) -> None:
    monkeypatch.setattr(slack_socket, "PING_SECONDS", 0.5)
    opened(Taken({}))
    before = slack.opened
    slack.drop()
    until(lambda: slack.opened > before)
    # A busy machine may take a sound connection for a stale one: what is sent into it then is lost.
    until(lambda: _is_acknowledged(slack), patience=60)


def _is_acknowledged(slack: SocketModeServer) -> bool:
    try:
        slack.until_connections(1)
        envelope = slack.send({})
        until(lambda: envelope in slack.acknowledged, patience=3)
    except (AssertionError, OSError, IndexError, ConnectionClosed):
        return False
    return True


def test_a_disabled_link_is_for_good(slack, opened) -> None:
    socket = opened(Taken({}))
    before = slack.opened
    slack.disconnect("link_disabled")
    until(lambda: socket.fatal is not None)
    with pytest.raises(SocketFatalError, match="Switch Socket Mode on"):
        socket.raise_if_fatal()
    time.sleep(0.5)
    assert slack.opened == before, "nobody knocks again"


@pytest.mark.parametrize("code", sorted(slack_socket.FATAL_ERRORS))
def test_a_token_that_is_no_good_is_for_good(slack, opened, code: str) -> None:
    slack.errors.append((200, code, {}))
    with pytest.raises(SocketFatalError, match=code) as raised:
        opened(Taken({}))
    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize("answer", [(429, "ratelimited", {"Retry-After": "60"}), (500, "fatal_error", {})])
def test_a_slack_that_is_busy_or_ill_is_asked_again_later(slack, opened, answer) -> None:
    slack.errors.append(answer)
    started = time.monotonic()
    with pytest.raises(ChannelError) as raised:
        opened(Taken({}))
    assert not isinstance(raised.value, SocketFatalError)
    assert time.monotonic() - started < 10, "the SDK itself would sleep for a minute"


def test_the_eleventh_connection_is_told_so(slack, opened) -> None:
    for _ in range(10):
        opened(Taken({}))
    slack.until_connections(10)
    assert slack.opened >= 10


@pytest.mark.parametrize(
    "url",
    ["ws://wss.slack.com/x", "wss://wss.slack.com:8443/x", "wss://slack.com.evil.example/", "wss://evil/"],
)
def test_an_address_that_is_not_slacks_is_not_followed(url: str) -> None:
    with pytest.raises(ChannelError, match="not its own"):
        slack_socket._checked(url, None)
    assert slack_socket._checked("wss://wss-primary.slack.com/link/?ticket=1", None)


def test_what_is_no_message_is_no_fault(slack, opened) -> None:
    opened(Taken({}))
    for text in ("[]", "null", "{", '{"type": "hello", "num_connections": "many"}', '{"envelope_id": 1}'):
        slack._live[0].send(text)
    slack.until_acknowledged(slack.send({}))


class Forgetful(ConnectionState):
    """What the SDK's receiver makes of it when it begins right after the connection was closed."""

    def __setattr__(self, name: str, value: object) -> None:
        told = self.__dict__.setdefault("told", [])
        told.append(value)
        super().__setattr__(name, value and len(told) > 1)


def test_a_connection_that_is_closed_as_it_begins_is_closed_all_the_same(slack, opened) -> None:
    socket = opened(Taken())
    slack.until_connections(1)
    socket._client.current_session_state.__class__ = Forgetful
    closing = threading.Thread(target=socket.close, daemon=True)
    closing.start()
    closing.join(timeout=20)
    assert not closing.is_alive()
