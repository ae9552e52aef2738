"""A DAG that floods people with requests is refused, and says so."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from airflow_approvals.config.settings import Settings
from airflow_approvals.control import registration
from airflow_approvals.core.models import Verdict
from airflow_approvals.errors import ConfigurationError
from airflow_approvals.store.tables import OutboxRow, RequestRow
from tests.control.airflow_scene import VERSIONED_DAG_ID, Airflow, Run, an_ask, outcome_of, task_at


@pytest.fixture
def crowded(airflow: Airflow) -> list[Run]:
    """Two runs that wait, where no more may."""
    airflow.conf("max_pending_per_dag", "2")
    runs = [airflow.a_run(), airflow.a_run()]
    for run in runs:
        run.ask()
    return runs


def newest(run: Run) -> RequestRow:
    request = run.airflow.look(lambda s: registration.newest_request(s, run.place()))
    assert request is not None
    return request


def test_one_too_many_is_refused_with_an_entry_and_a_note(airflow: Airflow, crowded: list[Run]) -> None:
    assert [airflow.kinds(run) for run in crowded] == [["request_registered"]] * 2
    run = airflow.a_run()
    request = run.ask()
    assert request.state == "forbidden"
    assert airflow.kinds(run) == ["request_registered", "request_forbidden"]
    (entry,) = airflow.entries(kind="request_forbidden", request=request.id)
    assert "max_pending_per_dag" in entry["details"]["because"]
    assert "clear the gate to ask again" in (airflow.look(lambda s: task_at(s, run.place()).note) or "")
    assert outcome_of(run)["outcome"] == "forbidden"
    assert run.grant() is None


def test_one_too_many_is_told_to_nobody(airflow: Airflow, crowded: list[Run], tmp_path: Path) -> None:
    """A flood must not become one of messages, private words and events either."""
    for option in ("slack_bot_token_file", "slack_signing_secret_file", "webhook_secret_file"):
        airflow.conf(option, str(tmp_path / option))
    airflow.conf("slack_channel", "C0TEST")
    airflow.conf("webhook_url", "https://events.example.com/")
    assert airflow.a_run().ask().state == "forbidden"
    queued = select(OutboxRow.channel, OutboxRow.kind)
    assert airflow.look(lambda s: s.execute(queued).all()) == []
    assert airflow.a_run().ask(an_ask(action="leak")).state == "forbidden"
    assert airflow.look(lambda s: s.execute(queued).all()) != [], "what a rule forbids is told"


def test_a_retry_asks_again_once_there_is_room(airflow: Airflow, crowded: list[Run]) -> None:
    run = airflow.a_run()
    assert run.ask().state == "forbidden"
    crowded[0].vote(newest(crowded[0]))
    run.retry("gate")
    assert run.ask().state == "pending"


def test_there_is_room_again_once_one_is_decided(airflow: Airflow, crowded: list[Run]) -> None:
    run, (first, second) = airflow.a_run(), crowded
    run.ask()
    first.vote(newest(first))
    run.clear("gate")
    assert run.ask().state == "pending"
    second.clear("gate")
    assert second.ask().state == "pending", "what waits of its own past try is no other"


def test_asking_again_and_again_is_bounded_as_well(airflow: Airflow) -> None:
    airflow.conf("max_pending_per_dag", "2")
    run = airflow.a_run()
    for _ in range(4):
        assert run.ask().state == "pending"
        run.vote(newest(run), verdict=Verdict.REJECT)
        run.clear("gate")
    for _ in range(3):
        assert run.ask(an_ask(action="rehearse")).state == "approved", "asks nobody"
        run.clear("gate")
    refused = run.ask()
    assert (refused.state, "within an hour" in (refused.decided_because or "")) == ("forbidden", True)
    airflow.now += timedelta(hours=1, minutes=1)
    run.clear("gate")
    assert run.ask().state == "pending"


def test_another_dag_and_what_nobody_is_asked_about_have_room(airflow: Airflow, crowded: list[Run]) -> None:
    assert airflow.a_run().ask(an_ask(action="rehearse")).state == "approved"
    assert airflow.a_run().ask(an_ask(action="leak")).decided_because == "Forbidden by rule never."
    assert airflow.a_run(VERSIONED_DAG_ID).ask().state == "pending"


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "1000000"])
def test_a_cap_is_a_whole_number(airflow: Airflow, text: str) -> None:
    airflow.conf("max_pending_per_dag", text)
    with pytest.raises(ConfigurationError, match="max_pending_per_dag"):
        Settings.load()
