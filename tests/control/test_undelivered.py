"""What a medium gave up on stands on Airflow's own page, where a vote still counts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from airflow_approvals.chat import messages
from airflow_approvals.control import deliveries, native_answers, outbox
from airflow_approvals.control.views import show_again
from airflow_approvals.core.models import RequestState, Verdict
from airflow_approvals.store import outbox as rows
from airflow_approvals.store.tables import OutboxRow, RequestRow
from tests.channels.scripted_slack import ScriptedSlack
from tests.client.a_server import a_server
from tests.control.airflow_scene import Airflow, Run

NOT_FOUND = r"**Not delivered:** Slack \(channel\_not\_found\)\. Nobody was told there\."


@pytest.fixture
def slack(airflow: Airflow) -> Iterator[ScriptedSlack]:
    secret = airflow.folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text("xoxb-scripted")
    for option in ("slack_bot_token_file", "slack_signing_secret_file"):
        airflow.conf(option, str(secret))
    with ScriptedSlack() as server:
        airflow.conf("slack_channel", "C0TEST")
        airflow.conf("slack_api_url", server.url)
        yield server


@pytest.fixture
def run(airflow: Airflow) -> Run:
    return airflow.a_run()


def last_attempt(run: Run) -> None:
    """Let what waits fall due, for the last time."""
    values = {"attempts": outbox.MAX_ATTEMPTS - 1, "due_at": datetime.now(UTC) - timedelta(seconds=1)}
    run.airflow.do(lambda s: s.execute(update(OutboxRow).values(**values)) and None)
    messages.deliver()


def give_up(run: Run, slack: ScriptedSlack) -> RequestRow:
    request = run.ask()
    slack.will_say(200, {"ok": False, "error": "channel_not_found"})
    last_attempt(run)
    return request


def sentences(run: Run, request: RequestRow) -> tuple[str, ...]:
    return run.airflow.look(lambda s: deliveries.undelivered(s, request.id))


def test_the_page_says_who_was_not_told_once_slack_is_given_up(run: Run, slack: ScriptedSlack) -> None:
    request = run.ask()
    before = run.inbox().body
    assert "Not delivered" not in (before or "")
    slack.will_say(200, {"ok": False, "error": "channel_not_found"})
    messages.deliver()
    assert run.inbox().body == before, "it is still tried"
    slack.will_say(200, {"ok": False, "error": "channel_not_found"})
    last_attempt(run)
    assert run.inbox().body == f"{NOT_FOUND}\n\n{before}"
    assert run.request(request.id).body == run.inbox().body


def test_a_vote_on_the_page_from_before_counts_all_the_same(run: Run, slack: ScriptedSlack) -> None:
    request = give_up(run, slack)
    assert NOT_FOUND in (run.inbox().body or "")
    assert native_answers.request_answered(run.place(), Verdict.APPROVE) == request.id
    run.vote(request)
    assert run.request(request.id).state == RequestState.APPROVED


def test_it_is_said_again_whenever_the_page_is_rendered_anew(run: Run, slack: ScriptedSlack) -> None:
    request = give_up(run, slack)
    run.airflow.do(lambda s: show_again(s, request.id))
    assert (run.inbox().body or "").count("Not delivered") == 1


def test_a_closed_request_and_another_try_keep_their_page(run: Run, slack: ScriptedSlack) -> None:
    request = run.ask()
    run.vote(request)
    before = run.inbox().body
    slack.will_say(200, {"ok": False, "error": "channel_not_found"})
    last_attempt(run)
    assert sentences(run, request), "it was given up"
    assert run.inbox().body == before


def test_the_webhook_of_programs_is_named_as_that(run: Run) -> None:
    airflow = run.airflow
    file = airflow.folder / "webhook-secret"
    file.touch(mode=0o600)
    file.write_text("whsec_" + "a2tr" * 12)
    with a_server() as server:
        server.say(b"", 410)
        airflow.conf("webhook_url", server.url)
        airflow.conf("webhook_secret_file", str(file))
        run.ask()
        messages.deliver()
    assert "the webhook \\(The webhook is gone" in (run.inbox().body or "")


@pytest.mark.parametrize(
    ("kind", "missed"),
    [
        ("update", "Slack (not_in_channel). What stands there is out of date."),
        ("remind", "Slack (not_in_channel). Nobody was reminded there."),
        ("escalate", "Slack (not_in_channel). Nobody else was told there."),
        ("story", None),
        ("whisper", None),
    ],
)
def test_only_what_an_approver_misses_is_said(run: Run, kind: str, missed: str | None) -> None:
    request = run.ask()
    error = "Slack refused the call: not_in_channel. Invite the app to the channel."
    queue(run, request, kind, rows.FAILED, error)
    assert sentences(run, request) == ((missed,) if missed else ())


def test_a_later_update_that_arrived_ends_it_and_no_error_is_long(run: Run) -> None:
    request = run.ask()
    queue(run, request, "update", rows.FAILED, "x" * 900)
    (sentence,) = sentences(run, request)
    assert len(sentence) < 300
    queue(run, request, "update", rows.SENT, None)
    assert sentences(run, request) == ()


def queue(run: Run, request: RequestRow, kind: str, state: str, error: str | None) -> None:
    def work(session: Session) -> None:
        row = rows.add(session, request.id, kind, channel="slack", now=run.airflow.now)
        row.state, row.last_error = state, error

    run.airflow.do(work)
