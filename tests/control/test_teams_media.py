"""Which media of Teams are configured, and what is said in the one that cannot be changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_approvals.channels.teams_webhook import MEDIUM
from airflow_approvals.chat import messages
from airflow_approvals.config.settings import Settings
from airflow_approvals.control import media, teams_media
from airflow_approvals.core.models import Channel, Verdict
from airflow_approvals.errors import ConfigurationError
from airflow_approvals.store.tables import OutboxRow
from tests.channels.teams_service import APP_ID, CHANNEL, TENANT, TeamsService, teams_service
from tests.control.airflow_scene import BOB, CAROL, POLICY, Airflow


def secret(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.touch(mode=0o600)
    path.write_text(text)
    return path


@pytest.fixture
def service(airflow: Airflow) -> Iterator[TeamsService]:
    with teams_service() as running:
        url = secret(airflow.folder, "teams-webhook-url", running.webhook_url)
        airflow.conf("teams_webhook_url_file", str(url))
        yield running


def queued(airflow: Airflow) -> list[str]:
    return [row.kind for row in airflow.look(lambda s: s.query(OutboxRow).filter_by(channel=MEDIUM).all())]


def test_a_webhook_is_told_of_a_request_and_of_its_end_and_nothing_between(
    airflow: Airflow, service: TeamsService
) -> None:
    airflow.activate(
        POLICY.replace("count: 1}]", "count: 2}]").replace("request_ttl: PT1H", "remind: [PT1S]")
    )
    run = airflow.a_run(user="alice")
    request = run.ask()
    run.vote(request, BOB, Verdict.APPROVE)
    assert queued(airflow) == ["request", "remind"]
    run.vote(request, CAROL, Verdict.APPROVE)
    assert queued(airflow) == ["request", "remind", "update"]
    messages.deliver()
    texts = [json.dumps(message) for message in service.hooked]
    assert any("Approved by" in text for text in texts)
    assert not any("Action.Execute" in text for text in texts)


def test_a_reminder_by_webhook_is_entered_without_a_channel(airflow: Airflow, service: TeamsService) -> None:
    airflow.activate(POLICY.replace("request_ttl: PT1H", "remind: [PT1S]", 1))
    request = airflow.a_run(user="alice").ask()
    airflow.do(lambda s: s.query(OutboxRow).filter_by(kind="remind").update({"due_at": airflow.now}))
    messages.deliver()
    (entry,) = airflow.entries(kind="reminder_sent", request=request.id)
    assert entry.get("channel") is None
    assert "This request still waits for a decision." in json.dumps(service.hooked)


def test_a_bot_takes_all_four_options() -> None:
    whole = Settings(
        teams_app_id=APP_ID,
        teams_app_password_file=Path("/somewhere"),
        teams_tenant=TENANT,
        teams_conversation=CHANNEL,
    )
    assert media.configured(whole) == (Channel.TEAMS.value,)
    assert teams_media.missing_bot_options(Settings(teams_app_id=APP_ID)) == (
        "teams_app_password_file",
        "teams_tenant",
        "teams_conversation",
    )
    assert media.configured(Settings()) == ()
    assert teams_media.bot(Settings(teams_app_id=APP_ID)) is None


def test_the_bot_signs_in_at_its_own_tenant_and_is_kept(tmp_path: Path) -> None:
    settings = Settings(
        teams_app_id=APP_ID,
        teams_app_password_file=secret(tmp_path, "password", "canary"),
        teams_tenant=TENANT,
        teams_conversation=CHANNEL,
    )
    bot = teams_media.bot(settings)
    assert bot is not None
    assert bot is teams_media.bot(settings)
    assert bot._identity.token_url == f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token"
    assert (bot.medium, bot.recipient) == ("teams", CHANNEL)


def test_a_webhook_file_without_an_address_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="teams_webhook_url_file"):
        teams_media.webhook(Settings(teams_webhook_url_file=secret(tmp_path, "url", "not an address")))


def test_a_medium_that_is_configured_wrong_holds_up_no_other(airflow: Airflow, service: TeamsService) -> None:
    password = secret(airflow.folder, "password", "canary")
    for name, value in {
        "teams_app_id": APP_ID,
        "teams_app_password_file": str(password),
        "teams_tenant": TENANT,
        "teams_conversation": "General",
    }.items():
        airflow.conf(name, value)
    airflow.a_run(user="alice").ask()
    messages.deliver()
    assert len(service.hooked) == 1
