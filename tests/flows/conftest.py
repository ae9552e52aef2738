"""One real Airflow for all flow tests: api-server, scheduler, dag-processor; no triggerer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_approvals.control.signing import generate_key_file
from tests.flows.gated import Gated
from tests.live.airflow_processes import AirflowDeployment

HERE = Path(__file__).parent
USERS = {"alice": "admin", "bob": "user", "carol": "user", "dave": "user", "viewer": "viewer"}


def deploy(home: Path, *, database: str = "sqlite", api_servers: int = 1) -> AirflowDeployment:
    """Prepare a deployment with a key, a policy and the protected connection; not started yet."""
    sink = home / "sink"
    sink.mkdir(parents=True)
    generate_key_file(home / "signing.pem")
    policy = home / "policy.yaml"
    policy.write_text((HERE / "policy.yaml").read_text().replace("@SINK@", sink.as_uri()))
    deployment = AirflowDeployment(
        home,
        database=database,
        users=USERS,
        dags_folder=HERE / "dags",
        api_servers=api_servers,
        environment={"APPROVALS_FLOW_ROOM": str(home / "room")},
        config={
            "approvals.policy_file": str(policy),
            "approvals.projection_file": str(home / "projection.json"),
            "approvals.protected_connections": "sink_a",
            "approvals.signing_key_file": str(home / "signing.pem"),
            "approvals.dispatcher_interval_seconds": "0.3",
        },
    )
    deployment.migrate()
    deployment.airflow(
        "connections", "add", "sink_a", "--conn-type", "generic", "--conn-host", "sink.invalid",
        "--conn-password", "hunter2-sink-password",
    )  # fmt: skip
    deployment.airflow("approvals", "policy", "activate")
    return deployment


@pytest.fixture(scope="session")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    """The shared deployment, started."""
    home = tmp_path_factory.mktemp("flows")
    deployment = deploy(home)
    deployment.start()
    try:
        deployment.wait_healthy()
        yield Gated(deployment, home)
    finally:
        deployment.stop()
