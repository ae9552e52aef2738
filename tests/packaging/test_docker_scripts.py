"""The start-up scripts that compose and the demo share, run here without a container."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from airflow_approvals.control.signing import generate_key_file
from tests.live.airflow_processes import AirflowDeployment
from tests.live.process_groups import RunningProcess, start_process

SCRIPTS = Path(__file__).resolve().parents[2] / "docker" / "scripts"
POLICY = """
version: 1
sinks:
  - {id: bucket, connection: training_bucket, uri_prefix: "@SINK@", assurance: run-bound}
groups:
  owners: {users: [bob]}
rules:
  - id: export
    when: {sink: bucket}
    effect: require
    seats: [{group: owners, count: 1}]
    channels: {ui: decide}
    request_ttl: PT24H
    grant_ttl: PT1H
"""


def test_secrets_are_private_and_never_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    make = [str(SCRIPTS / "make_secrets.sh"), str(folder)]
    subprocess.run(make, check=True, capture_output=True)
    first = {path.name: path.read_text() for path in folder.iterdir()}
    subprocess.run(make, check=True, capture_output=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == first
    assert set(first) == {"postgres_password", "fernet_key", "jwt_secret", "api_secret_key", "database_url"}
    assert first["postgres_password"] in first["database_url"]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_serve_refuses_an_unknown_part() -> None:
    done = subprocess.run([SCRIPTS / "serve.sh", "triggerer"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "unknown part triggerer" in done.stderr


@pytest.mark.live
def test_an_empty_postgresql_becomes_a_server_with_a_policy(tmp_path: Path, postgres_url: str) -> None:
    """What compose does, without containers: prepare once, then serve."""
    deployment, environment = _configured(tmp_path, postgres_url)
    subprocess.run([SCRIPTS / "prepare.sh"], env=environment, cwd=tmp_path, check=True)
    server = _serve_api(deployment, environment)
    try:
        deployment.wait_for(lambda: deployment.answers(0), 90, "the api-server to answer")
        with deployment.client("alice") as client:
            connection = client.get("/api/v2/connections/training_bucket").raise_for_status().json()
            entries = client.get("/approvals/api/v1/ledger/entries").raise_for_status().json()["entries"]
    finally:
        server.stop()
    assert connection["conn_type"] == "generic"
    assert entries[-1]["kind"] == "policy_activated"


def _configured(home: Path, database: str) -> tuple[AirflowDeployment, dict[str, str]]:
    (home / "policy.yaml").write_text(POLICY.replace("@SINK@", (home / "sink").as_uri()))
    connections = home / "connections.json"
    connections.write_text(
        json.dumps({"training_bucket": {"conn_type": "generic", "password": "of-the-bucket"}})
    )
    generate_key_file(home / "signing_key")
    deployment = AirflowDeployment(
        home,
        database=database,
        config={
            "approvals.policy_file": str(home / "policy.yaml"),
            "approvals.projection_file": str(home / "projection.json"),
            "approvals.protected_connections": "training_bucket",
            "approvals.signing_key_file": str(home / "signing_key"),
        },
    )
    return deployment, {**deployment.environment, "APPROVALS_CONNECTIONS_FILE": str(connections)}


def _serve_api(deployment: AirflowDeployment, environment: dict[str, str]) -> RunningProcess:
    port = deployment.url().rsplit(":", 1)[-1]
    return start_process(
        "api-server",
        [str(SCRIPTS / "serve.sh"), "api-server", "--port", port],
        log=deployment.home / "process-logs" / "api-server.log",
        environment=environment,
        cwd=deployment.home,
    )
