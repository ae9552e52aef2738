"""API servers in two halves, and broken ones: each keeps the rings that are its own, or does not start."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from airflow.api_fastapi.auth.tokens import JWTGenerator

from tests.control.execution_worker import NEWEST
from tests.flows.conftest import deploy
from tests.live.airflow_processes import START_SECONDS, AirflowDeployment
from tests.live.process_groups import RunningProcess, start_process, tail

pytestmark = pytest.mark.live

SABOTAGED = Path(__file__).resolve().parents[1] / "enforcement" / "sabotaged"


class Servers:
    """API servers on one prepared home."""

    def __init__(self, deployment: AirflowDeployment) -> None:
        self.deployment = deployment
        self.running: dict[str, RunningProcess] = {}
        self.ports: dict[str, int] = {}

    def start(self, name: str, apps: str, **environment: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.ports[name] = free.getsockname()[1]
        self.running[name] = start_process(
            name,
            ["airflow", "api-server", "--apps", apps, "--port", str(self.ports[name])],
            log=self.deployment.home / "process-logs" / f"{name}.log",
            environment={**self.deployment.environment, **environment},
            cwd=self.deployment.home,
        )

    def call(self, name: str, path: str, **options: object) -> httpx.Response:
        return httpx.request(
            "GET", f"http://127.0.0.1:{self.ports[name]}{path}", trust_env=False, timeout=120, **options
        )

    def wait(self, name: str, path: str) -> None:
        def answers() -> bool:
            self.running[name].check_alive()
            try:
                return self.call(name, path).status_code < 500
            except httpx.HTTPError:
                return False

        self.deployment.wait_for(answers, START_SECONDS, f"{name} to answer")

    def ended(self, name: str) -> tuple[int, str]:
        """Wait for a server to end by itself; return its exit code and the end of its log."""
        process = self.running[name]
        self.deployment.wait_for(lambda: process.popen.poll() is not None, START_SECONDS, f"{name} to end")
        return process.popen.returncode, tail(process.log, 400)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Two halves that serve, and two that have lost a piece, all at once: a start takes long."""
    servers = Servers(deploy(tmp_path_factory.mktemp("split")))
    path = os.pathsep.join([str(SABOTAGED), os.environ.get("PYTHONPATH", str(Path.cwd()))])
    try:
        servers.start("core", "core")
        servers.start("execution", "execution")
        for which, apps in (("hook", "execution"), ("middleware", "core")):
            servers.start(f"no-{which}", apps, PYTHONPATH=path, APPROVALS_TEST_SABOTAGE=which)
        yield servers
    finally:
        for process in servers.running.values():
            process.stop()


def test_a_server_that_lacks_one_hook_in_one_version_does_not_start(servers: Servers) -> None:
    code, log = servers.ended("no-hook")
    assert code != 0
    (sentence,) = [line for line in log.splitlines() if "does not start" in line]
    assert "GET /connections/{connection_id} (2025-11-05)" in sentence
    assert "Traceback" not in log


def test_a_core_server_without_the_middleware_does_not_start(servers: Servers) -> None:
    code, log = servers.ended("no-middleware")
    assert code != 0
    assert len([line for line in log.splitlines() if "does not start" in line]) == 1
    assert "middleware" in log


def test_an_execution_server_keeps_the_credential_ring(servers: Servers) -> None:
    servers.wait("execution", "/execution/health/ping")
    assert servers.call("execution", "/approvals/api/v1/requests").status_code == 404, "no plugin app here"
    headers = {"Authorization": f"Bearer {_worker_token(servers)}", "Airflow-API-Version": NEWEST}
    answer = servers.call("execution", "/execution/connections/sink_a", headers=headers)
    assert (answer.status_code, answer.json()["detail"]["reason"]) == (403, "approvals_no_task")
    assert "hunter2" not in answer.text


def test_a_core_server_keeps_the_answer_route(servers: Servers) -> None:
    servers.wait("core", "/api/v2/version")
    assert servers.call("core", "/approvals/api/v1/requests").status_code == 401
    page = servers.call("core", "/execution/health/ping").headers["content-type"]
    assert page.startswith("text/html"), "no Execution API here, so Airflow's page answers"


def _worker_token(servers: Servers) -> str:
    secret = json.loads((servers.deployment.home / "keys.json").read_text())["api_auth.jwt_secret"]
    generator = JWTGenerator(secret_key=secret, audience="urn:airflow.apache.org:task", valid_for=600)
    return generator.generate({"sub": str(uuid4()), "scope": "execution"})
