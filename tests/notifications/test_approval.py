"""The notifier as Airflow calls it: in a callback, with a Connection of the author's."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from standardwebhooks import Webhook

from airflow_approvals.errors import ChannelError, ConfigurationError
from airflow_approvals.notifications.approval import ApprovalNotifier
from airflow_approvals.provider_info import get_provider_info
from tests.client.a_server import Server, a_server

SECRET = f"whsec_{base64.b64encode(b'n' * 32).decode()}"
GRANT = {"grant": "g1", "request": "r1", "sink": "s", "jws": "a.b.c", "connection": "sink_a"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with a_server() as server:
        server.say(b"", 204)
        connect(monkeypatch, server.url)
        yield server


def connect(monkeypatch: pytest.MonkeyPatch, host: str, password: str = SECRET, **more: Any) -> None:
    document = {"conn_type": "http", "host": host, "password": password, **more}
    monkeypatch.setenv("AIRFLOW_CONN_OPS", json.dumps(document))


def a_context(state: str = "failed", gate_says: Any = GRANT) -> dict[str, Any]:
    ti = SimpleNamespace(
        task_id="release", map_index=-1, try_number=2, state=state, xcom_pull=lambda task_ids: gate_says
    )
    return {"dag": DAG("export", schedule=None), "run_id": "manual__1", "ti": ti}


def data_of(server: Server) -> dict[str, Any]:
    (call,) = server.calls
    return Webhook(SECRET).verify(call.body, call.headers)["data"]


def test_it_tells_what_became_of_the_task_and_its_gate(server: Server) -> None:
    ApprovalNotifier("ops", gate="gate")(a_context())
    data = data_of(server)
    assert data["text"] == "release of export, run manual__1: failed"
    assert (data["state"], data["try_number"]) == ("failed", 2)
    assert data["grant"] == {"grant": "g1", "request": "r1", "sink": "s"}
    assert json.loads(server.calls[0].body)["source"] == "dag:export"


@pytest.mark.parametrize("gate_says", [None, "text", ["list"]])
def test_a_gate_without_a_grant_adds_nothing(server: Server, gate_says: Any) -> None:
    ApprovalNotifier("ops", gate="gate")(a_context(gate_says=gate_says))
    assert data_of(server)["grant"] is None


def test_an_address_in_parts_is_put_together(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    connect(monkeypatch, "127.0.0.1", port=port, schema="http", extra=json.dumps({"path": "/hooks/1"}))
    ApprovalNotifier("ops", text="late")(a_context())
    assert server.calls[0].path == "/hooks/1"
    assert data_of(server)["text"] == "late"


@pytest.mark.parametrize(("host", "password"), [("", SECRET), ("https://x.example.com", "short")])
def test_a_connection_that_lacks_something_is_named(
    monkeypatch: pytest.MonkeyPatch, host: str, password: str
) -> None:
    connect(monkeypatch, host, password)
    with pytest.raises(ConfigurationError):
        ApprovalNotifier("ops")(a_context())


def test_a_receiver_that_refuses_is_a_fault_that_airflow_logs(server: Server) -> None:
    server.answers[:] = []
    server.say(b"", 500)
    with pytest.raises(ChannelError):
        ApprovalNotifier("ops")(a_context())


def test_airflow_knows_it() -> None:
    (path,) = get_provider_info()["notifications"]
    module, name = path.rsplit(".", 1)
    assert (module, name) == (ApprovalNotifier.__module__, ApprovalNotifier.__name__)
