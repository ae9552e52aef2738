from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from airflow_approvals.channels.failures import DeliveryRefusedError, RetryLaterError
from airflow_approvals.channels.teams_webhook import TeamsWebhook
from airflow_approvals.core.models import RequestState
from airflow_approvals.errors import ChannelError, ConfigurationError
from tests.channels.facts_for_tests import some_facts
from tests.channels.teams_service import MAX_MESSAGE, TeamsService, teams_service
from tests.channels.test_teams_cards import HUGE

CLOSED = some_facts(state=RequestState.REJECTED, decided_because="Rejected by bob.")


@pytest.fixture
def service() -> Iterator[TeamsService]:
    with teams_service() as running:
        yield running


@pytest.fixture
def webhook(service: TeamsService) -> TeamsWebhook:
    return TeamsWebhook(service.webhook_url)


def content(message: dict) -> dict:
    assert (message["type"], len(message["attachments"])) == ("message", 1)
    attachment = message["attachments"][0]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    return attachment["content"]


def test_a_request_is_a_card_that_leads_to_airflow_and_takes_no_answer(
    webhook: TeamsWebhook, service: TeamsService
) -> None:
    assert webhook.post(some_facts()) == "posted"
    card = content(service.hooked[0])
    assert card["version"] == "1.5"
    assert [action["type"] for action in card["actions"]] == ["Action.OpenUrl"]
    assert "refresh" not in card


def test_the_end_is_a_short_card_and_votes_in_between_are_none(
    webhook: TeamsWebhook, service: TeamsService
) -> None:
    ref = webhook.post(some_facts())
    webhook.update(ref, some_facts())
    assert len(service.hooked) == 1
    webhook.update(ref, CLOSED)
    text = json.dumps(service.hooked[1])
    assert "Rejected by bob." in text
    assert len(text) < 3000


def test_a_reminder_is_posted_and_nobody_is_spoken_to_alone(
    webhook: TeamsWebhook, service: TeamsService
) -> None:
    webhook.reply("posted", "Still waits.", ["29:bob"], key="1")
    assert "Still waits." in json.dumps(service.hooked[0])
    with pytest.raises(DeliveryRefusedError):
        webhook.whisper("29:bob", "psst")
    assert webhook.find("req-1", since=some_facts().expires_at, place="") is None


def test_the_largest_request_fits_the_limit(webhook: TeamsWebhook, service: TeamsService) -> None:
    webhook.post(HUGE)
    assert len(json.dumps(service.hooked[0], ensure_ascii=False).encode()) <= MAX_MESSAGE


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("", 30.0), ("soon", 30.0), ("999999", 3600.0)])
def test_a_request_to_wait_is_passed_on(
    webhook: TeamsWebhook, service: TeamsService, header: str, seconds: float
) -> None:
    service.refuse_next.append((429, {"Retry-After": header} if header else {}))
    with pytest.raises(RetryLaterError) as busy:
        webhook.post(some_facts())
    assert busy.value.seconds == seconds
    assert service.hooked == []


def test_a_redirect_is_not_followed_and_nothing_tells_the_address(
    webhook: TeamsWebhook, service: TeamsService
) -> None:
    service.refuse_next.append((307, {"Location": f"{service.url}/workflows/other"}))
    with pytest.raises(ChannelError) as refused:
        webhook.post(some_facts())
    assert "canary" not in str(refused.value)
    assert len(service.calls) == 1
    with pytest.raises(ChannelError) as unreachable:
        TeamsWebhook("http://127.0.0.1:9/canary-webhook-signature").post(some_facts())
    assert "canary" not in str(unreachable.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://prod.logic.azure.com/workflows/x",
        "ftp://127.0.0.1/x",
        "https://user:pass@host/x",
        "https:///x",
        "javascript:alert(1)",
    ],
)
def test_an_address_that_would_leak_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="teams_webhook_url_file"):
        TeamsWebhook(url)
