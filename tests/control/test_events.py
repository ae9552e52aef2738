"""Events for programs: what is told of a request's life, and what a failing receiver does to it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from airflow_approvals.chat import messages
from airflow_approvals.config.settings import Settings
from airflow_approvals.control import events
from airflow_approvals.core.models import Verdict
from airflow_approvals.errors import ConfigurationError
from airflow_approvals.store import outbox as rows
from airflow_approvals.store.tables import OutboxRow
from tests.client.a_server import Server, a_server
from tests.control.airflow_scene import HOUR, SECRET, Airflow, Run, close

WHSEC = f"whsec_{base64.b64encode(b'k' * 32).decode()}"


@pytest.fixture
def receiver(airflow: Airflow) -> Iterator[Server]:
    file = airflow.folder / "webhook-secret"
    file.touch(mode=0o600)
    file.write_text(WHSEC)
    with a_server() as server:
        server.say(b"", 204)
        airflow.conf("webhook_url", server.url)
        airflow.conf("webhook_secret_file", str(file))
        yield server


def told(server: Server) -> list[dict]:
    """What the receiver was told, in the order of its sequence."""
    return sorted((json.loads(call.body) for call in server.calls), key=lambda event: event["sequence"])


def kinds(server: Server) -> list[str]:
    return [event["type"].removeprefix("airflow_approvals.request.") for event in told(server)]


def rows_of(run: Run) -> list[OutboxRow]:
    return run.airflow.look(
        lambda s: list(s.scalars(select(OutboxRow).where(OutboxRow.channel == "webhook")))
    )


def fall_due(airflow: Airflow) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    airflow.do(lambda s: s.execute(update(OutboxRow).values(due_at=past)) and None)


def test_a_life_is_told_from_the_ask_to_the_release(airflow: Airflow, receiver: Server) -> None:
    run = airflow.a_run()
    request = run.ask()
    run.vote(request, verdict=Verdict.REJECT, reason="no")
    messages.deliver()
    assert kinds(receiver) == ["requested", "decided"]
    asked, decided = told(receiver)
    assert (asked["data"]["state"], decided["data"]["state"]) == ("pending", "rejected")
    assert decided["data"]["by"] == "bob"
    assert decided["subject"] == request.id
    assert decided["data"]["manifest_digest"] == request.manifest_digest
    assert SECRET not in json.dumps(told(receiver))


def test_a_late_delivery_tells_of_its_own_moment(airflow: Airflow, receiver: Server) -> None:
    run = airflow.a_run()
    request = run.ask()
    run.vote(request)
    messages.deliver()
    assert [event["data"]["state"] for event in told(receiver)] == ["pending", "approved"]
    assert messages.deliver() == 0
    assert len(receiver.calls) == 2


def test_silence_and_a_void_approval_are_told(airflow: Airflow, receiver: Server) -> None:
    silent, void = airflow.a_run(), airflow.a_run()
    close(silent, silent.ask(), after=HOUR)
    void.approve()
    void.finish("gate")
    void.clear("gate")
    void.ask()
    fall_due(airflow)
    messages.deliver()
    assert "expired" in kinds(receiver)
    recalled = [event for event in told(receiver) if event["type"].endswith(".recalled")]
    assert [event["data"]["run_id"] for event in recalled] == [void.run_id]


def test_a_receiver_that_fails_gets_the_same_event_again(airflow: Airflow, receiver: Server) -> None:
    receiver.answers[:] = []
    receiver.say(b"", 500)
    receiver.say(b"", 204)
    run = airflow.a_run()
    run.ask()
    assert messages.deliver() == 0
    (row,) = rows_of(run)
    assert (row.state, row.last_error) == ("due", "The webhook refused the event (HTTP 500).")
    assert messages.deliver() == 0, "not before its time"
    fall_due(airflow)
    assert messages.deliver() == 1
    first, second = receiver.calls
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


def test_all_waits_while_the_receiver_asks_to_wait(airflow: Airflow, receiver: Server) -> None:
    receiver.answers[:] = []
    receiver.say(b"", 429, Retry_After="60")
    for _ in range(2):
        airflow.a_run().ask()
    messages.deliver()
    fall = [row.due_at for row in rows_of(airflow.a_run())]
    assert len(receiver.calls) == 1
    assert all(due > datetime.now(UTC) + timedelta(seconds=50) for due in fall)
    assert [row.attempts for row in rows_of(airflow.a_run())] == [0, 0]


def test_what_cannot_be_delivered_is_entered_and_decides_nothing(airflow: Airflow, receiver: Server) -> None:
    receiver.answers[:] = []
    receiver.say(b"", 410)
    run = airflow.a_run()
    request = run.ask()
    messages.deliver()
    (row,) = rows_of(run)
    assert row.state == rows.FAILED
    (entry,) = airflow.entries(kind="delivery_failed", request=request.id)
    assert entry["details"]["medium"] == "webhook"
    assert run.request(request.id).state == "pending"


def test_the_last_attempt_gives_up(airflow: Airflow, receiver: Server) -> None:
    receiver.answers[:] = []
    receiver.say(b"", 500)
    run = airflow.a_run()
    request = run.ask()
    last = events.MAX_ATTEMPTS - 1
    airflow.do(lambda s: s.execute(update(OutboxRow).values(attempts=last)) and None)
    messages.deliver()
    assert [row.state for row in rows_of(run)] == [rows.FAILED]
    assert airflow.entries(kind="delivery_failed", request=request.id)


def test_nothing_is_queued_without_a_receiver_and_a_bad_option_is_named(airflow: Airflow) -> None:
    run = airflow.a_run()
    run.ask()
    assert rows_of(run) == []
    with pytest.raises(ConfigurationError, match="webhook_url and webhook_secret_file"):
        events.channel(Settings(webhook_url="https://x.example.com/"))
