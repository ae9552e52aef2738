"""The Socket Mode process: one lease, two connections, alarms, and the same inbox as over HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from airflow_approvals.channels.slack_socket import SocketFatalError
from airflow_approvals.chat import slack_callbacks, slack_socket
from airflow_approvals.chat.slack_callbacks import Answer
from airflow_approvals.chat.slack_socket import SocketProcess
from airflow_approvals.config.settings import Settings
from airflow_approvals.control import health, lease
from airflow_approvals.errors import ConfigurationError
from airflow_approvals.store.tables import InboxRow
from tests.channels.socket_mode_server import TOKEN, SocketModeServer, a_socket_mode_server
from tests.control.airflow_scene import Airflow
from tests.live import slack_clicks


def payload_of_click() -> dict[str, Any]:
    button = {"type": "button", "action_id": slack_clicks.APPROVE, "value": "r1", "text": {}}
    message = {
        "ts": "1700000000.000100",
        "blocks": [{"type": "actions", "block_id": "b", "elements": [button]}],
    }
    return slack_clicks.payload(
        message=message, channel="C0000001", action_id=slack_clicks.APPROVE, user="U0000001", team="T0000001"
    )


@pytest.fixture
def slack(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> Iterator[SocketModeServer]:
    monkeypatch.setattr(slack_socket, "LOOK_SECONDS", 0.05)
    file = airflow.folder / "slack-app-token"
    file.touch(mode=0o600)
    file.write_text(TOKEN)
    with a_socket_mode_server() as server:
        airflow.conf("slack_app_token_file", str(file))
        airflow.conf("slack_api_url", server.api_url)
        yield server


@contextmanager
def running() -> Iterator[SocketProcess]:
    process = SocketProcess(Settings.load())
    thread = threading.Thread(target=process.run, daemon=True)
    thread.start()
    try:
        yield process
    finally:
        process.request_stop()
        thread.join(timeout=30)
    assert not thread.is_alive()


def until(look: Callable[[], Any], patience: float = 20.0) -> None:
    deadline = time.monotonic() + patience
    while not look():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def kept(airflow: Airflow) -> list[InboxRow]:
    return airflow.look(lambda s: list(s.scalars(select(InboxRow))))


def test_two_connections_take_a_click_into_the_inbox_once(airflow: Airflow, slack: SocketModeServer) -> None:
    before = len(kept(airflow))
    with running() as process:
        slack.until_connections(2)
        until(lambda: process.is_working)
        envelope = slack.send(payload_of_click())
        slack.until_acknowledged(envelope)
        slack.acknowledged.clear()
        slack.send(payload_of_click(), envelope_id=envelope)
        slack.until_acknowledged(envelope)
        assert len(kept(airflow)) == before + 1
        assert process.alarms == frozenset()
    slack.until_connections(0)


def test_what_is_none_of_ours_is_acknowledged_and_forgotten(
    airflow: Airflow, slack: SocketModeServer
) -> None:
    before = len(kept(airflow))
    with running():
        slack.until_connections(2)
        for payload, kind in (({"type": "shortcut"}, "interactive"), ({"event": {}}, "events_api")):
            slack.until_acknowledged(slack.send(payload, kind=kind))
    assert len(kept(airflow)) == before


def test_an_answer_travels_with_the_acknowledgement_and_work_follows_it(
    slack: SocketModeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = threading.Event()
    answer = Answer({"response_action": "clear"}, done.set)
    monkeypatch.setattr(slack_callbacks, "take", lambda callback_id, payload: answer)
    with running():
        slack.until_connections(2)
        assert slack.until_acknowledged(slack.send({})) == {"response_action": "clear"}
        assert done.wait(10)


def test_what_could_not_be_written_down_is_not_acknowledged(
    slack: SocketModeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = threading.Event()

    def away(callback_id: str, payload: object) -> Answer:
        tried.set()
        raise OSError("the database is away")

    monkeypatch.setattr(slack_callbacks, "take", away)
    with running():
        slack.until_connections(2)
        envelope = slack.send({})
        assert tried.wait(10)
        time.sleep(0.3)
        assert envelope not in slack.acknowledged


def test_another_process_waits_for_the_lease_and_takes_over(slack: SocketModeServer) -> None:
    with running():
        slack.until_connections(2)
        with running() as waiting:
            time.sleep(0.5)
            assert slack.opened == 2, "the second does not knock"
            assert not waiting.is_working
    with running() as following:
        slack.until_connections(2)
        until(lambda: following.is_working)


def test_a_switched_off_socket_mode_ends_the_process_and_frees_the_lease(slack: SocketModeServer) -> None:
    process = SocketProcess(Settings.load())
    ended: list[BaseException] = []

    def run() -> None:
        try:
            process.run()
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    slack.until_connections(2)
    slack.disconnect("link_disabled")
    thread.join(timeout=30)
    assert isinstance(ended[0], SocketFatalError)
    slack.until_connections(0)
    with running():
        slack.until_connections(2)


def test_connections_that_nobody_holds_are_told(slack: SocketModeServer) -> None:
    slack.ghosts = 3
    with running() as process:
        until(lambda: any("3 more connections" in alarm for alarm in process.alarms))


def test_a_slack_that_is_away_is_told_and_found_again(
    slack: SocketModeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    slack.errors.extend([(500, "fatal_error", {})] * 3)
    with running() as process:
        slack.until_connections(2)
        until(lambda: process.is_working)
    assert slack.opened >= 5


def test_the_health_report_misses_a_process(airflow: Airflow, slack: SocketModeServer) -> None:
    wanted = "Nobody holds Slack's sockets"
    assert any(wanted in problem for problem in health.report()["problems"])
    airflow.do(lambda s: lease.acquire(s, lease.SLACK_SOCKET, "somebody", now=datetime.now(UTC)))
    assert not any(wanted in problem for problem in health.report()["problems"])


def test_without_a_token_there_is_one_sentence(airflow: Airflow) -> None:
    with pytest.raises(ConfigurationError, match="slack_app_token_file"):
        SocketProcess(Settings.load())
