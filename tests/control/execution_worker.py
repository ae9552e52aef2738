"""Airflow's Execution API as an API server builds it, and the worker that calls it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from airflow.api_fastapi.auth.tokens import JWTGenerator
from fastapi.testclient import TestClient

from airflow_approvals.core.ask import ASK_PARAM
from tests.control.airflow_scene import Airflow, Run

SECRET_KEY = "the-suites-own-secret-" + "x" * 64
#: The oldest, one between, the newest, and none named (which is the newest).
VERSIONS = ("2025-04-11", "2025-11-05", "2026-06-30", None)
NEWEST = "2026-06-30"


@pytest.fixture(scope="session")
def execution_app() -> Any:
    """The app of an API server, built once: whatever hooks stand, stand in it."""
    from airflow.api_fastapi.common.dagbag import create_dag_bag
    from airflow.api_fastapi.execution_api.app import create_task_execution_api_app

    app = create_task_execution_api_app()
    app.state.dag_bag = create_dag_bag()
    return app


class Worker:
    """A worker's side: calls with the token of one task instance."""

    def __init__(self, client: TestClient, version: str | None = NEWEST) -> None:
        self.client = client
        self.version = version

    def call(self, ti_id: str, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token_of(ti_id)}"}
        if self.version is not None:
            headers["Airflow-API-Version"] = self.version
        return self.client.request(method, path, headers=headers, json=body)

    def ask(self, run: Run, document: Any) -> httpx.Response:
        ti_id = run.ti_id()
        body = {
            "ti_id": ti_id,
            "options": ["Approve", "Reject"],
            "subject": "s",
            "params": {ASK_PARAM: document},
        }
        return self.call(ti_id, "POST", f"/hitlDetails/{ti_id}", body)

    def answer_itself(self, run: Run) -> httpx.Response:
        ti_id = run.ti_id()
        body = {"ti_id": ti_id, "chosen_options": ["Approve"], "params_input": {}}
        return self.call(ti_id, "PATCH", f"/hitlDetails/{ti_id}", body)

    def start(self, run: Run, task_id: str) -> httpx.Response:
        body = {
            "state": "running",
            "hostname": "h",
            "unixname": "u",
            "pid": 1,
            "start_date": run.airflow.now.isoformat(),
        }
        ti_id = run.ti_id(task_id)
        return self.call(ti_id, "PATCH", f"/task-instances/{ti_id}/run", body)

    def succeed(self, run: Run, task_id: str) -> httpx.Response:
        ti_id = run.ti_id(task_id)
        body = {"state": "success", "end_date": datetime.now(UTC).isoformat()}
        return self.call(ti_id, "PATCH", f"/task-instances/{ti_id}/state", body)

    def connection(self, run: Run, task_id: str, conn_id: str = "sink_a") -> httpx.Response:
        return self.call(run.ti_id(task_id), "GET", f"/connections/{conn_id}")

    def clear(self, run: Run, target: Run) -> httpx.Response:
        path = f"/dag-runs/{target.dag_id}/{target.run_id}/clear"
        return self.call(run.ti_id("aside"), "POST", path)

    def trigger(self, run: Run, target: Run) -> httpx.Response:
        return self.call(run.ti_id("aside"), "POST", f"/dag-runs/{target.dag_id}/{target.run_id}", {})


def token_of(ti_id: str) -> str:
    generator = JWTGenerator(secret_key=SECRET_KEY, audience="urn:airflow.apache.org:task", valid_for=600)
    return generator.generate({"sub": ti_id, "scope": "execution"})


@pytest.fixture
def client(airflow: Airflow, execution_app: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    from airflow.api_fastapi.auth.tokens import JWTValidator
    from airflow.api_fastapi.execution_api.app import lifespan

    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", SECRET_KEY)
    validator = JWTValidator(secret_key=SECRET_KEY, audience="urn:airflow.apache.org:task", issuer=None)
    lifespan.registry.register_value(JWTValidator, validator)
    with TestClient(execution_app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(params=VERSIONS, ids=lambda version: version or "unnamed")
def worker(client: TestClient, request: pytest.FixtureRequest) -> Worker:
    return Worker(client, request.param)


@pytest.fixture
def newest(client: TestClient) -> Worker:
    return Worker(client)
