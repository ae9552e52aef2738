"""What an event queues: a word in the thread for everybody, and the outcome for who started the run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from airflow_approvals import dispatcher
from airflow_approvals.chat import messages
from airflow_approvals.core.models import Channel, Verdict
from airflow_approvals.store.tables import OutboxRow, RequestRow
from tests.control.airflow_scene import BOB, CAROL, POLICY, Airflow, Run, use

LINKED = """
identities:
  slack:
    team: T0TEST
    users: {U0DAVE: dave, U0BOB: bob, U0CAROL: carol}
"""
TWO_OWNERS = POLICY.replace("{group: owners, count: 1}", "{group: owners, count: 2}") + LINKED


@pytest.fixture
def run(airflow: Airflow) -> Run:
    """A run that dave started, in a deployment where Slack is set up and never answers."""
    secret = airflow.folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text("xoxb-nobody")
    for option in ("slack_bot_token_file", "slack_signing_secret_file"):
        airflow.conf(option, str(secret))
    airflow.conf("slack_channel", "C0TEST")
    airflow.conf("slack_api_url", "http://127.0.0.1:9/api/")
    airflow.activate(TWO_OWNERS)
    return airflow.a_run(user="dave")


def queued(run: Run, request: RequestRow, kind: str) -> list[tuple[str, str]]:
    """(recipient, text) of what was queued, in order."""
    found = select(OutboxRow).where(OutboxRow.request_id == request.id, OutboxRow.kind == kind)
    kept = run.airflow.look(lambda s: list(s.scalars(found.order_by(OutboxRow.id))))
    return [(row.recipient, row.text) for row in kept]


def test_every_event_becomes_one_word_in_the_thread(run: Run) -> None:
    request = run.ask()
    run.vote(request, BOB)
    run.vote(request, CAROL)
    run.finish("gate")
    use(run)
    run.finish("use")
    dispatcher.run_round()
    told = [text for _, text in queued(run, request, "story")]
    assert len(told) == 3
    assert told[0] == "bob votes to approve; it still needs 1 of owners."
    assert told[1] == run.request(request.id).decided_because
    assert told[2].startswith("Released: ")


def test_a_vote_that_is_taken_back_is_told(run: Run) -> None:
    from airflow_approvals.control.decisions import take_back

    request = run.ask()
    run.vote(request, BOB)
    take_back(request.id, person=BOB, channel=Channel.API)
    assert [text.split(";")[0] for _, text in queued(run, request, "story")] == [
        "bob votes to approve",
        "bob takes the vote back",
    ]


def test_the_announcement_itself_is_no_word_in_its_own_thread(run: Run) -> None:
    assert queued(run, run.ask(), "story") == []


@pytest.mark.parametrize("verdict", Verdict)
def test_whoever_started_the_run_gets_the_outcome_and_nobody_else(run: Run, verdict: Verdict) -> None:
    request = run.ask()
    for person in (BOB, CAROL):
        run.vote(request, person, verdict)
    row = run.request(request.id)
    words = f"Your request export to sink-a: {row.state}. {row.decided_because}"
    assert queued(run, request, "outcome") == [("U0DAVE", words)]


def test_an_open_request_has_no_outcome(run: Run) -> None:
    request = run.ask()
    run.vote(request, BOB)
    assert queued(run, request, "outcome") == []


def test_who_is_not_linked_is_not_written_to(run: Run) -> None:
    other = run.airflow.a_run(user="erin")
    request = other.ask()
    for person in (BOB, CAROL):
        run.vote(request, person)
    assert queued(run, request, "outcome") == []


def test_messages_that_cannot_be_delivered_never_stretch_the_clock(run: Run) -> None:
    request = run.ask()
    assert messages.deliver() == 0
    row = run.airflow.look(
        lambda s: s.scalars(select(OutboxRow).where(OutboxRow.request_id == request.id)).first()
    )
    assert row is not None
    assert row.last_error is not None
    assert "could not be reached" in row.last_error
    assert run.request(request.id).expires_at == request.expires_at
    moment = datetime.now(UTC) - timedelta(seconds=1)
    run.airflow.do(lambda s: setattr(s.get_one(RequestRow, request.id), "expires_at", moment))
    assert dispatcher.run_round() == 1
    assert run.request(request.id).state == "expired"
    assert run.task().state == "scheduled"
    assert [recipient for recipient, _ in queued(run, request, "outcome")] == ["U0DAVE"]


def test_a_secret_file_that_is_gone_stops_no_decision(run: Run) -> None:
    request = run.ask()
    Path(run.airflow.folder / "secret").unlink()
    for person in (BOB, CAROL):
        run.vote(request, person)
    assert run.request(request.id).state == "approved"
