"""Presses in Teams that take long: kept first, worked on later by whoever is there, told in time."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from airflow_approvals.api import teams as teams_api
from airflow_approvals.api.teams import TeamsDoor, gate_of, router
from airflow_approvals.channels import teams_cards as cards
from airflow_approvals.channels.teams_activity import message_answer, parse_activity, parse_press
from airflow_approvals.chat import messages, teams_messages
from airflow_approvals.chat.teams_refusals import SLOW
from airflow_approvals.config.settings import Settings
from airflow_approvals.control.decisions import decide, take_back
from airflow_approvals.core.models import Channel, Refusal, Verdict
from airflow_approvals.store.tables import InboxRow
from tests.channels.teams_service import PEOPLE
from tests.control.airflow_scene import BOB
from tests.control.teams_scene import PATH, TeamsScene, policy

CARD = "application/vnd.microsoft.card.adaptive"
MESSAGE = "application/vnd.microsoft.activity.message"
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def test_a_press_whose_process_died_is_worked_on_later_and_its_refusal_told_alone(teams: TeamsScene) -> None:
    request = teams.asked()
    for who, verb in (("alice", cards.CONFIRM_APPROVE), ("bob", cards.CONFIRM_APPROVE)):
        _leave_behind(teams, teams.activity(request, verb, who, inputs={"reason": "looked"}))
    assert teams_messages.process_waiting() == 2
    assert teams.state(request) == "approved"
    messages.deliver()
    told = [(place[0], json.dumps(card)) for place, card in teams.service.activities.items()]
    refused, outcome = [text for chat, text in told if chat == f"a:29:{PEOPLE['alice']}"]
    assert "somebody else has to decide" in refused
    assert "Your request" in outcome
    assert not [chat for chat, _ in told if chat == f"a:29:{PEOPLE['bob']}"], "the card says that it counts"


class DiedError(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("votes_needed", [1, 2])
def test_a_press_whose_process_died_right_after_the_vote_is_not_refused_later(
    teams: TeamsScene, monkeypatch: pytest.MonkeyPatch, votes_needed: int
) -> None:
    teams.airflow.activate(policy().replace("count: 1", f"count: {votes_needed}"))
    request = teams.asked()
    _leave_behind(teams, teams.activity(request, cards.CONFIRM_APPROVE, "bob", inputs={"reason": "looked"}))

    def decides_and_dies(*arguments: Any, **named: Any) -> None:
        assert not isinstance(decide(*arguments, **named), Refusal)
        raise DiedError

    with monkeypatch.context() as patched:
        patched.setattr(teams_messages, "decide", decides_and_dies)
        with pytest.raises(DiedError):
            teams_messages.process_waiting()
    assert [row.state for row in teams.inbox()] == ["done"], "closed in the transaction of the vote"
    teams.airflow.do(lambda s: s.execute(update(InboxRow).values(received_at=_LONG_AGO)))
    assert teams_messages.process_waiting() == 0
    assert teams.votes(request) == [("bob", "approve", "teams")]
    assert teams.airflow.entries(kind="vote_refused", request=request.id) == []
    assert [row for row in teams.outbox(request) if row.kind == "whisper"] == []


def test_a_process_that_died_before_the_vote_leaves_the_press_to_another(
    teams: TeamsScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = teams.asked()
    _leave_behind(teams, teams.activity(request, cards.CONFIRM_APPROVE, "bob", inputs={"reason": "looked"}))

    def dies(*arguments: Any, **named: Any) -> None:
        raise DiedError

    with monkeypatch.context() as patched:
        patched.setattr(teams_messages, "decide", dies)
        with pytest.raises(DiedError):
            teams_messages.process_waiting()
    teams.airflow.do(lambda s: s.execute(update(InboxRow).values(received_at=_minutes_ago(5))))
    assert teams_messages.process_waiting() == 1
    assert teams.votes(request) == [("bob", "approve", "teams")]


def test_an_attempt_that_another_has_overtaken_casts_no_vote(
    teams: TeamsScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = teams.asked()
    _leave_behind(teams, teams.activity(request, cards.CONFIRM_APPROVE, "bob", inputs={"reason": "looked"}))

    def slow(*arguments: Any, **named: Any) -> Any:
        teams.airflow.do(lambda s: s.execute(update(InboxRow).values(state="taken-3")))
        return decide(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(teams_messages, "decide", slow)
        teams_messages.process_waiting()
    assert (teams.state(request), teams.votes(request)) == ("pending", [])
    assert [row.state for row in teams.inbox()] == ["taken-3"]
    teams.airflow.do(lambda s: s.execute(update(InboxRow).values(received_at=_minutes_ago(5))))
    assert teams_messages.process_waiting() == 1
    assert teams.votes(request) == [("bob", "approve", "teams")]
    assert teams.airflow.entries(kind="vote_refused", request=request.id) == []


def test_a_press_that_was_left_over_does_not_override_what_was_said_since(teams: TeamsScene) -> None:
    teams.airflow.activate(policy().replace("count: 1", "count: 2"))
    request = teams.asked()
    _leave_behind(teams, teams.activity(request, cards.CONFIRM_APPROVE, "bob", inputs={"reason": "looked"}))
    decide(request.id, person=BOB, verdict=Verdict.APPROVE, reason="x", channel=Channel.UI)
    take_back(request.id, person=BOB, channel=Channel.UI)
    assert teams_messages.process_waiting() == 1
    assert teams.votes(request) == []
    (refused,) = teams.airflow.entries(kind="vote_refused", request=request.id)
    assert refused["details"]["code"] == "overtaken"


def test_a_press_is_written_down_before_it_waits_for_a_thread(teams: TeamsScene) -> None:
    request = teams.asked()
    activity = teams.activity(request, cards.CONFIRM_APPROVE, "bob", inputs={"reason": "looked"})
    press = parse_press(parse_activity(json.dumps(activity).encode()))
    work = teams_messages.begin(press, lambda: False)
    assert [row.state for row in teams.inbox()] == ["taken-1"]
    assert teams.votes(request) == []
    work()
    assert teams.votes(request) == [("bob", "approve", "teams")]


def _minutes_ago(minutes: int) -> datetime:
    return datetime.now(UTC) - timedelta(minutes=minutes)


def _leave_behind(teams: TeamsScene, activity: dict[str, Any]) -> None:
    """Leave a press as a process does that dies right after writing it down."""
    left = parse_press(parse_activity(json.dumps(activity).encode()))
    row = InboxRow(
        id=left.inbox_id,
        channel="teams",
        payload=left.to_text(),
        state="taken-1",
        received_at=datetime.now(UTC) - timedelta(minutes=2),
    )
    teams.airflow.do(lambda s: s.add(row))


def test_a_slow_answer_says_so_in_time_and_counts_later(teams: TeamsScene) -> None:
    request = teams.asked()
    answered = threading.Event()

    def slow(press: Any, claim: Any) -> Any:
        assert answered.wait(60)
        return teams_messages.begin(press, claim)

    app = FastAPI()
    app.include_router(router)
    app.state.teams_door = TeamsDoor(lambda: gate_of(Settings.load()), slow, patience=0.1)
    with TestClient(app) as client:
        headers = {"Authorization": f"Bearer {teams.service.token()}"}
        for who in ("alice", "bob"):
            activity = teams.activity(request, cards.CONFIRM_APPROVE, who, inputs={"reason": "looked"})
            answer = client.post(PATH, json=activity, headers=headers)
            assert answer.json() == {"statusCode": 200, "type": MESSAGE, "value": SLOW}
        answered.set()
        deadline = time.monotonic() + 60
        while [row.state for row in teams.inbox()] != ["done"] * 2 and time.monotonic() < deadline:
            time.sleep(0.05)
    assert teams.state(request) == "approved"
    whispers = [row for row in teams.outbox(request) if row.kind == "whisper"]
    assert [row.recipient for row in whispers] == [PEOPLE["alice"]]


@pytest.mark.parametrize(
    ("claimed", "words"), [(True, "Why not."), (False, SLOW)], ids=["at-once", "by-the-bot"]
)
def test_whoever_is_told_to_wait_for_the_bot_is_written_to_and_nobody_else(
    teams: TeamsScene, monkeypatch: pytest.MonkeyPatch, claimed: bool, words: str
) -> None:
    request = teams.asked()
    still_waiting: list[bool] = []
    begun, patience_is_over = threading.Event(), threading.Event()

    def begin(press: Any, claim: Any) -> Any:
        if claimed:
            still_waiting.append(claim())
        begun.set()

        def work() -> Any:
            assert patience_is_over.wait(60)
            still_waiting.append(claim())
            return message_answer("Why not.")

        return work

    class Waiting(teams_api._Waiting):
        """Whose patience is over after the press was begun and before it is worked on, on any machine."""

        def leave(self) -> bool:
            assert begun.wait(60)
            left = super().leave()
            patience_is_over.set()
            return left

    monkeypatch.setattr(teams_api, "_Waiting", Waiting)
    monkeypatch.setattr(teams_api, "GRACE_SECONDS", 60.0)
    app = FastAPI()
    app.include_router(router)
    app.state.teams_door = TeamsDoor(lambda: gate_of(Settings.load()), begin, patience=0.2)
    with TestClient(app) as client:
        headers = {"Authorization": f"Bearer {teams.service.token()}"}
        activity = teams.activity(request, cards.CONFIRM_APPROVE, "bob", inputs={"reason": "looked"})
        answer = client.post(PATH, json=activity, headers=headers)
        deadline = time.monotonic() + 60
        while len(still_waiting) < 1 + claimed and time.monotonic() < deadline:
            time.sleep(0.05)
    assert answer.json()["value"] == words
    assert still_waiting == [True] * 2 if claimed else [False]


def test_a_database_that_does_not_take_a_press_is_told_without_what_the_person_wrote(
    teams: TeamsScene, caplog: pytest.LogCaptureFixture
) -> None:
    request = teams.asked()

    def begin(press: Any, claim: Any) -> Any:
        raise OperationalError("INSERT", {"payload": press.reason}, Exception(press.reason))

    app = FastAPI()
    app.include_router(router)
    app.state.teams_door = TeamsDoor(lambda: gate_of(Settings.load()), begin)
    activity = teams.activity(request, cards.CONFIRM_APPROVE, "bob", inputs={"reason": "canary-reason"})
    with TestClient(app) as client:
        headers = {"Authorization": f"Bearer {teams.service.token()}"}
        answer = client.post(PATH, json=activity, headers=headers)
    assert (answer.status_code, answer.json()["statusCode"]) == (200, 503)
    assert "could not write down a press in Teams" in caplog.text
    assert "canary-reason" not in caplog.text + answer.text


def test_a_press_that_another_version_wrote_holds_up_no_other(teams: TeamsScene) -> None:
    request = teams.asked()
    _leave_behind(teams, teams.activity(request, cards.CONFIRM_APPROVE, "bob", inputs={"reason": "looked"}))
    strange = {"channel": "teams", "payload": "{}", "state": "new", "received_at": _minutes_ago(3)}
    teams.airflow.do(lambda s: s.add(InboxRow(id="0" * 64, **strange)))
    assert teams_messages.process_waiting() == 1
    assert teams.votes(request) == [("bob", "approve", "teams")]
    teams.airflow.do(lambda s: s.execute(update(InboxRow).values(received_at=_LONG_AGO)))
    teams_messages.process_waiting()
    assert {row.state for row in teams.inbox()} == {"done"}


def test_a_bot_that_is_configured_wrong_holds_up_no_other_medium(
    teams: TeamsScene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    teams.airflow.conf("teams_app_password_file", str(teams.airflow.folder / "absent"))
    delivered: list[bool] = []
    monkeypatch.setattr(messages, "deliver", lambda: delivered.append(True) or 1)
    assert messages.process_and_deliver() == 1
    assert delivered == [True]
    assert "could not work on what waits from Teams" in caplog.text


@pytest.mark.parametrize("reason", ["a\x00b", "a\ud800b"])
def test_a_reason_that_no_database_stores_is_refused_at_once(teams: TeamsScene, reason: str) -> None:
    request = teams.asked()
    activity = teams.activity(request, cards.CONFIRM_APPROVE, "bob", inputs={"reason": reason})
    answer = teams.post(json.dumps(activity).encode())
    assert answer.json()["statusCode"] == 400
    assert teams.inbox() == []
