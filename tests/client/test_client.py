"""The client against a server that answers anything: what it returns, and how it fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from airflow_approvals.client import ApprovalsClient, RefusalError
from airflow_approvals.errors import ApprovalsError, ConfigurationError, ContractError, UnavailableError
from tests.client.a_server import Server, a_server

TOKEN = "secret-token-of-bob"
SOON = timedelta(seconds=0.01)
REQUEST = {
    "id": "r1",
    "state": "pending",
    "action": "export",
    "sink": "s",
    "label": "internal",
    "manifest_digest": "sha256:" + "a" * 64,
    "ask_digest": "sha256:" + "b" * 64,
    "dag_id": "d",
    "run_id": "manual__1",
    "task_id": "gate",
    "map_index": -1,
    "created_at": "2026-01-02T03:04:05Z",
    "expires_at": "2026-01-02T04:04:05+00:00",
    "decided_at": None,
    "decided_because": None,
    "a_field_of_tomorrow": 1,
}
DETAIL = {
    **REQUEST,
    "destination": "s3://train/",
    "assurance": "run-bound",
    "endpoint": "https://train.example",
    "endpoint_changed": False,
    "last_approved_at": None,
    "changes": [],
    "rules": ["one"],
    "seats": [{"group": "owners", "count": 1}],
    "deciding_channels": ["api"],
    "requesters": [{"name": "alice", "why": "triggered the run"}],
    "votes": [],
    "grant": None,
}


@pytest.fixture
def server() -> Iterator[Server]:
    with a_server() as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[ApprovalsClient]:
    with ApprovalsClient(server.url, TOKEN) as client:
        yield client


def test_a_request_is_read_whole(server: Server, client: ApprovalsClient) -> None:
    vote = {
        "person": "bob",
        "verdict": "approve",
        "reason": "",
        "channel": "api",
        "at": "2026-01-02T03:10:00Z",
    }
    grant = {
        "id": "g",
        "state": "live",
        "jws": "a.b.c",
        "not_after": "2026-01-02T05:00:00Z",
        "ended_because": None,
    }
    server.say({**DETAIL, "state": "approved", "votes": [vote], "grant": grant})
    found = client.request("r1")
    assert (found.state, found.is_final) == ("approved", True)
    assert found.seats == (("owners", 1),)
    assert found.requesters == (("alice", "triggered the run"),)
    assert found.votes[0].at.utcoffset() == timedelta(0)
    assert found.grant is not None
    assert found.grant.jws == "a.b.c"
    assert server.calls[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_pages_are_followed_to_the_end(server: Server, client: ApprovalsClient) -> None:
    server.say({"requests": [REQUEST], "next": "r1"})
    server.say({"requests": [{**REQUEST, "id": "r0"}], "next": None})
    assert [found.id for found in client.requests(state="pending")] == ["r1", "r0"]
    assert "state=pending" in server.calls[0].path
    assert "after=r1" in server.calls[1].path


def test_asking_sends_the_key_once(server: Server, client: ApprovalsClient) -> None:
    server.say({"dag_id": "d", "run_id": "asked__1", "requests": "/x", "again": False}, 202)
    assert client.ask("d", {"day": "1"}, key="k").run_id == "asked__1"
    (call,) = server.calls
    assert (call.method, call.path) == ("POST", "/approvals/api/v1/requests")
    assert call.headers["idempotency-key"] == "k"
    assert json.loads(call.body) == {"dag_id": "d", "conf": {"day": "1"}}


def test_an_id_cannot_lead_elsewhere(server: Server, client: ApprovalsClient) -> None:
    server.say(DETAIL)
    client.request("../../api/v2/dags")
    assert server.calls[0].path == "/approvals/api/v1/requests/..%2F..%2Fapi%2Fv2%2Fdags"


@pytest.mark.parametrize("verb", ["approve", "reject", "take_back", "withdraw"])
def test_a_refusal_has_its_code_and_its_sentence(server: Server, client: ApprovalsClient, verb: str) -> None:
    server.say({"code": "self_approval", "detail": "You started this run."}, 403)
    with pytest.raises(RefusalError) as refused:
        getattr(client, verb)("r1")
    assert (refused.value.code, refused.value.status) == ("self_approval", 403)
    assert str(refused.value) == "You started this run."


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b"<html>", ContractError),
        (200, b"[]", ContractError),
        (200, b'{"id": "r1"}', ContractError),
        (200, json.dumps({**DETAIL, "created_at": "soon"}).encode(), ContractError),
        (200, json.dumps({**DETAIL, "created_at": "2026-01-02T03:04:05"}).encode(), ContractError),
        (200, json.dumps({**DETAIL, "seats": [1]}).encode(), ContractError),
        (404, b"<html>", ContractError),
        (307, b"", ContractError),
        (404, b'{"detail": ["odd"]}', RefusalError),
        (500, b"", UnavailableError),
        (503, b'{"code": "x"}', UnavailableError),
    ],
)
def test_whatever_answers_the_error_is_one_of_ours(
    server: Server, client: ApprovalsClient, status: int, body: bytes, error: type[ApprovalsError]
) -> None:
    server.say(body, status, Location="http://127.0.0.1:1/")
    with pytest.raises(error) as raised:
        client.request("r1")
    assert TOKEN not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_server_that_is_gone_is_told(server: Server) -> None:
    with ApprovalsClient("http://127.0.0.1:1", TOKEN) as client, pytest.raises(UnavailableError):
        client.approve("r1")


@pytest.mark.parametrize("address", ["http://airflow.example.com", "ftp://localhost", "airflow", "https://"])
def test_no_token_goes_out_in_the_clear(address: str) -> None:
    with pytest.raises(ConfigurationError, match="https://"):
        ApprovalsClient(address, TOKEN)


def test_waiting_ends_with_the_decision_or_the_time(server: Server, client: ApprovalsClient) -> None:
    server.say(DETAIL)
    server.say({**DETAIL, "state": "rejected"})
    assert client.wait("r1", timeout=timedelta(seconds=20), poll=SOON).state == "rejected"
    server.answers[:] = []
    server.say(DETAIL)
    with pytest.raises(UnavailableError, match="still pending"):
        client.wait("r1", timeout=SOON, poll=SOON)


def test_signing_in_takes_the_token(server: Server) -> None:
    server.say({"access_token": "issued"}, 201)
    server.say(DETAIL)
    with ApprovalsClient.sign_in(server.url, "bob", "pw") as client:
        client.request("r1")
    assert server.calls[1].headers["authorization"] == "Bearer issued"
    assert "authorization" not in server.calls[0].headers
    server.answers[:] = []
    server.say({"token": "elsewhere"})
    with pytest.raises(ContractError):
        ApprovalsClient.sign_in(server.url, "bob", "pw")
