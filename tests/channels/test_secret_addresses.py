"""The address of a webhook is in no log, whatever is logged; that of other calls is."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest

from airflow_approvals.channels.teams_webhook import TeamsWebhook
from airflow_approvals.channels.webhook import WebhookChannel, WebhookEvent, parse_secrets
from airflow_approvals.errors import ChannelError
from tests.channels.facts_for_tests import some_facts
from tests.client.a_server import Server, a_server

SECRET = "canary-webhook-signature"
EVENT = WebhookEvent(7, "decided", "https://airflow.example", "r1", datetime(2026, 1, 2, tzinfo=UTC), {})


def send(server: Server, medium: str) -> None:
    url = f"{server.url}/hook?sig={SECRET}"
    if medium == "teams":
        TeamsWebhook(url).post(some_facts())
    else:
        secret = f"whsec_{base64.b64encode(b'k' * 32).decode()}"
        WebhookChannel(url, parse_secrets(secret), time.time).send(EVENT)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One for all: it takes longer to stop than what is tested."""
    with a_server() as running:
        yield running


@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
@pytest.mark.parametrize("medium", ["teams", "webhook"])
@pytest.mark.parametrize("status", [204, 302, 500])
def test_a_webhooks_address_is_in_no_log(
    caplog: pytest.LogCaptureFixture, server: Server, medium: str, status: int, level: int
) -> None:
    for name in ("", "httpx", "httpcore.http11"):
        caplog.set_level(level, name)
    server.answers.clear()
    server.say(b"", status, Location=f"/other?sig={SECRET}")
    if status == 204:
        send(server, medium)
    else:
        with pytest.raises(ChannelError):
            send(server, medium)
    assert server.calls[-1].path.endswith(SECRET)
    assert SECRET not in caplog.text
    httpx.get(f"{server.url}/of-somebody-else")
    assert "/of-somebody-else" in caplog.text
