"""Events to a receiver: their form, their signature, and every way it can answer."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cloudevents.http import from_http
from standardwebhooks import Webhook, WebhookVerificationError

from airflow_approvals.channels.failures import DeliveryRefusedError, RetryLaterError
from airflow_approvals.channels.webhook import WebhookChannel, WebhookEvent, parse_secrets, sign
from airflow_approvals.errors import ChannelError, ConfigurationError
from tests.client.a_server import Server, a_server

NEW, OLD = (f"whsec_{base64.b64encode(bytes([n]) * 32).decode()}" for n in (1, 2))


@pytest.fixture
def server() -> Iterator[Server]:
    with a_server() as server:
        server.say(b"", 204)
        yield server


def channel(server: Server, *secrets: str) -> WebhookChannel:
    return WebhookChannel(f"{server.url}/hook", parse_secrets("\n".join(secrets or (NEW,))), time.time)


def an_event(**changes: object) -> WebhookEvent:
    at = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    parts = {
        "number": 7,
        "kind": "decided",
        "source": "https://airflow.example.com/approvals",
        "subject": "r1",
    }
    return WebhookEvent(**{**parts, "at": at, "data": {"state": "approved", "sink": "Ünï"}, **changes})  # type: ignore[arg-type]


def test_the_standards_own_library_accepts_what_we_sign(server: Server) -> None:
    channel(server).send(an_event())
    (call,) = server.calls
    assert Webhook(NEW).verify(call.body, call.headers)["data"]["sink"] == "Ünï"
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(call.body.replace(b"approved", b"rejected"), call.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(call.body, call.headers)


def test_during_a_rotation_either_secret_verifies(server: Server) -> None:
    channel(server, NEW, OLD).send(an_event())
    for secret in (NEW, OLD):
        Webhook(secret).verify(server.calls[0].body, server.calls[0].headers)


def test_the_published_vector_is_met() -> None:
    """Source: https://github.com/standard-webhooks/standard-webhooks (test vector of its libraries)."""
    (secret,) = parse_secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_event_is_a_cloud_event(server: Server) -> None:
    tokyo = datetime(2026, 1, 2, 12, 4, 5, tzinfo=timezone(timedelta(hours=9)))
    channel(server).send(an_event(at=tokyo))
    (call,) = server.calls
    event = from_http(call.headers, call.body)
    assert event["type"] == "airflow_approvals.request.decided"
    assert (event["id"], event["subject"], event["source"]) == (
        "r1.7",
        "r1",
        "https://airflow.example.com/approvals",
    )
    assert datetime.fromisoformat(event["time"]) == tokyo
    assert event["sequence"] < json.loads(an_event(number=10).to_bytes())["sequence"]
    assert event.data == {"state": "approved", "sink": "Ünï"}
    assert call.headers["content-type"].startswith("application/cloudevents+json")


@pytest.mark.parametrize(
    ("status", "headers", "error", "seconds"),
    [
        (429, {"Retry_After": "7"}, RetryLaterError, 7.0),
        (503, {}, RetryLaterError, 30.0),
        (429, {"Retry_After": "99999999"}, RetryLaterError, 3600.0),
        (429, {"Retry_After": "Wed, 21 Oct 2026 07:28:00 GMT"}, RetryLaterError, 30.0),
        (410, {}, DeliveryRefusedError, None),
        (400, {}, ChannelError, None),
        (500, {}, ChannelError, None),
        (302, {"Location": "http://127.0.0.1:1/"}, ChannelError, None),
    ],
)
def test_whatever_it_answers(
    server: Server, status: int, headers: dict[str, str], error: type[ChannelError], seconds: float | None
) -> None:
    server.answers[:] = []
    server.say(b"", status, **headers)
    with pytest.raises(error) as raised:
        channel(server).send(an_event())
    assert getattr(raised.value, "seconds", None) == seconds
    assert len(server.calls) == 1, "nothing follows a redirect or tries again by itself"


def test_a_receiver_that_is_gone_is_a_fault_without_its_address() -> None:
    gone = WebhookChannel("http://127.0.0.1:1/hook?token=abc", parse_secrets(NEW), time.time)
    with pytest.raises(ChannelError) as raised:
        gone.send(an_event())
    assert "abc" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["http://hooks.example.com/", "https://", "ftp://x/", "https://u:p@hooks.example.com/"]
)
def test_an_address_that_is_not_private_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="webhook_url"):
        WebhookChannel(url, parse_secrets(NEW), time.time)


@pytest.mark.parametrize(
    "text", ["", "secret", "whsec_", "whsec_!!!", "whsec_c2hvcnQ=", f"{NEW}\n{OLD}\n{NEW}"]
)
def test_a_secret_of_another_form_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse_secrets(text)
    assert "c2hvcnQ" not in str(raised.value)
