"""One real Airflow for all flow tests: api-server, scheduler, dag-processor; no triggerer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from airflow_approvals.control.signing import generate_key_file
from tests.channels.teams_service import (
    APP_ID,
    CHANNEL,
    PASSWORD,
    PEOPLE,
    TENANT,
    TeamsService,
    teams_service,
)
from tests.conftest import _new_postgres_database
from tests.flows.gated import Gated
from tests.live.airflow_processes import AirflowDeployment
from tests.live.slack_emulator import SlackEmulator
from tests.live.slack_proxy import SlackProxy

HERE = Path(__file__).parent
SLACK_SECRET = "a-signing-secret-for-the-flows"
USERS = {"alice": "admin", "bob": "user", "carol": "user", "dave": "user", "viewer": "viewer"}


def deploy(
    home: Path,
    *,
    database: str = "sqlite",
    api_servers: int = 1,
    slack: SlackEmulator | None = None,
    slack_url: str = "",
    teams: TeamsService | None = None,
) -> AirflowDeployment:
    """Prepare a deployment with a key, a policy and the protected connection; not started yet.

    :param slack_url: where the server finds Slack, when not at the emulator itself.
    """
    sink = home / "sink"
    sink.mkdir(parents=True)
    generate_key_file(home / "signing.pem")
    policy = home / "policy.yaml"
    text = (HERE / "policy.yaml").read_text().replace("@SINK@", sink.as_uri())
    policy.write_text(text + _identities(slack, teams))
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
            "approvals.dispatcher_interval_seconds": "0.7",
            **(_slack_options(home, slack, slack_url or slack.url) if slack else {}),
            **(_teams_options(home, teams) if teams else {}),
        },
    )
    _prepare(deployment)
    return deployment


def _prepare(deployment: AirflowDeployment) -> None:
    """Run the set-up commands in one process: importing Airflow is most of what each costs."""
    connection = ["sink_a", "--conn-type", "generic", "--conn-host", "sink.invalid"]
    commands = [
        ["db", "migrate"],
        ["connections", "add", *connection, "--conn-password", "hunter2-sink-password"],
        ["approvals", "policy", "activate"],
    ]
    script = (
        "import sys, json\n"
        "from airflow.cli.cli_parser import get_parser\n"
        "for command in json.loads(sys.argv[1]):\n"
        "    parsed = get_parser().parse_args(command)\n"
        "    parsed.func(parsed)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(commands)],
        env=dict(deployment.environment),
        cwd=deployment.home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _identities(slack: SlackEmulator | None, teams: TeamsService | None) -> str:
    linked = []
    if slack:
        people = ", ".join(f"{slack.users[name]}: {name}" for name in ("alice", "bob", "dave"))
        linked.append(f"  slack: {{team: {slack.team}, users: {{{people}}}}}\n")
    if teams:
        people = ", ".join(f"{PEOPLE[name]}: {name}" for name in ("alice", "bob"))
        linked.append(f"  teams: {{tenant: {TENANT}, users: {{{people}}}}}\n")
    return "".join(["identities:\n", *linked]) if linked else ""


def _slack_options(home: Path, slack: SlackEmulator, url: str) -> dict[str, str]:
    for name, text in (("slack-token", slack.token), ("slack-secret", SLACK_SECRET)):
        (home / name).touch(mode=0o600)
        (home / name).write_text(text)
    return {
        "approvals.slack_bot_token_file": str(home / "slack-token"),
        "approvals.slack_signing_secret_file": str(home / "slack-secret"),
        "approvals.slack_channel": slack.channel,
        "approvals.slack_api_url": url,
    }


def _teams_options(home: Path, teams: TeamsService) -> dict[str, str]:
    (home / "teams-password").touch(mode=0o600)
    (home / "teams-password").write_text(PASSWORD)
    return {
        "approvals.teams_app_id": APP_ID,
        "approvals.teams_app_password_file": str(home / "teams-password"),
        "approvals.teams_tenant": TENANT,
        "approvals.teams_conversation": CHANNEL,
        "approvals.teams_service_url": teams.service_url,
        "approvals.teams_token_url": teams.token_url,
        "approvals.teams_openid_url": teams.openid_url,
    }


@pytest.fixture(scope="package")
def slack() -> Iterator[SlackEmulator]:
    """A Slack with a channel, alice, bob and a viewer."""
    with SlackEmulator() as emulator:
        yield emulator


@pytest.fixture(scope="package")
def proxy(slack: SlackEmulator) -> Iterator[SlackProxy]:
    """What the server takes for Slack: it remembers the calls."""
    with SlackProxy(slack.url) as between:
        yield between


@pytest.fixture(scope="package")
def teams() -> Iterator[TeamsService]:
    """Microsoft's side of Teams."""
    with teams_service() as service:
        yield service


@pytest.fixture(scope="package")
def gated(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: str,
    slack: SlackEmulator,
    proxy: SlackProxy,
    teams: TeamsService,
) -> Iterator[Gated]:
    """The shared deployment on PostgreSQL, started."""
    home = tmp_path_factory.mktemp("flows")
    database = _new_postgres_database(postgres_server)
    deployment = deploy(home, database=database, slack=slack, slack_url=proxy.url, teams=teams)
    deployment.start()
    try:
        deployment.wait_healthy()
        yield Gated(deployment, home)
    finally:
        pids = deployment.processes().values()
        deployment.stop()
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []


@pytest.fixture(scope="package")
def pair(tmp_path_factory: pytest.TempPathFactory, postgres_url: str) -> Iterator[Gated]:
    """A deployment on PostgreSQL with two API server processes."""
    home = tmp_path_factory.mktemp("pair")
    deployment = deploy(home, database=postgres_url, api_servers=2)
    deployment.start()
    try:
        deployment.wait_healthy()
        yield Gated(deployment, home)
    finally:
        deployment.stop()
