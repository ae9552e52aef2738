"""What the demo needs around it: a folder, keys, an Airflow, a Slack, a training service."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from airflow_approvals.control.signing import generate_key_file
from tests.live.airflow_processes import AirflowDeployment
from tests.live.process_groups import RunningProcess, end_tree, start_process
from tests.live.slack_emulator import SlackEmulator

PROJECT = Path(__file__).resolve().parents[1]
ROOM = PROJECT / ".demo"
SCRIPTS = PROJECT / "docker" / "scripts"
USERS = {"alice": "admin", "bob": "user", "carol": "user", "viewer": "viewer", "agent": "user"}
#: A program's account: it asks, and never votes.
AGENT = "agent"
#: Connections to services that the demo's little HTTP server plays.
APIS = ("training_api", "access_api", "fleet_api")


class World:
    """Everything the demo runs on; all of it lies in ``.demo`` and is ended by pid."""

    def __init__(self, room: Path = ROOM, data: Path = PROJECT / "dags" / "data") -> None:
        self.room = room
        self.data = data
        self.bucket = room / "bucket"
        self.masked = room / "masked"
        self.jobs = room / "jobs.jsonl"
        self.signing_secret = secrets.token_hex(16)
        self.slack = SlackEmulator(folder=room / "slack")
        self._trainer_port = _free_port()
        self._trainer: RunningProcess | None = None
        self._airflow: AirflowDeployment | None = None

    @property
    def airflow(self) -> AirflowDeployment:
        """The Airflow of this demo, there after :meth:`prepare`."""
        if self._airflow is None:
            raise RuntimeError("The demo's Airflow is not prepared yet.")
        return self._airflow

    def prepare(self) -> None:
        """Write keys, secrets and policy; start Slack, whose ids the policy names; make the tables."""
        for folder in (self.room, self.bucket, self.masked, self.room / "secrets"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        generate_key_file(self._secret("signing_key"))
        self.slack.start()
        _write_private(self._secret("slack_bot_token"), self.slack.token)
        _write_private(self._secret("slack_signing_secret"), self.signing_secret)
        _write_private(self._secret("connections.json"), json.dumps(self._connections()))
        (self.room / "policy.yaml").write_text(self._policy())
        self._airflow = AirflowDeployment(
            self.room / "airflow",
            users=USERS,
            dags_folder=PROJECT / "dags",
            config=self._options(),
            environment={
                "AIRFLOW_APPROVALS_DEMO_DATA": str(self.data),
                "AIRFLOW_APPROVALS_DEMO_MASKED": str(self.masked),
                # Both data sets are scanned at once; more threads than cores only get in each other's way.
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
            },
        )
        self._run_script("prepare.sh")

    def start(self) -> None:
        """Start the training service and Airflow, and wait until every part is healthy."""
        self._trainer = start_process(
            "trainer",
            [
                *(sys.executable, str(PROJECT / "docker" / "demo_trainer.py")),
                *(str(self._trainer_port), str(self.jobs)),
            ],
            log=self.room / "trainer.log",
            environment=self.airflow.environment,
            cwd=self.room,
        )
        self.airflow.start()
        self.airflow.wait_healthy()

    def stop(self) -> None:
        """End everything, in an order in which nothing waits for what is gone."""
        if self._airflow is not None:
            self._airflow.stop()
        if self._trainer is not None:
            self._trainer.stop()
        self.slack.stop()

    def processes(self) -> dict[str, int]:
        """Name to pid of all that runs."""
        found = {**self.airflow.processes(), "slack": self.slack.pid}
        return found if self._trainer is None else {**found, "trainer": self._trainer.pid}

    @property
    def interactions(self) -> str:
        """Where Slack would post clicks."""
        return f"{self.airflow.url()}/approvals/slack/interactions"

    def _secret(self, name: str) -> Path:
        return self.room / "secrets" / name

    def _policy(self) -> str:
        filled = (PROJECT / "docker" / "demo-policy.yaml").read_text()
        words = {
            "@BUCKET@": self.bucket.as_uri(),
            "@TRAINER@": f"http://127.0.0.1:{self._trainer_port}/jobs",
            "@TEAM@": self.slack.team,
            "@ALICE@": self.slack.users["alice"],
            "@BOB@": self.slack.users["bob"],
        }
        for word, value in words.items():
            filled = filled.replace(word, value)
        return filled

    def _connections(self) -> dict[str, dict[str, object]]:
        trainer = {"conn_type": "http", "host": "127.0.0.1", "port": self._trainer_port}
        return {
            "training_bucket": {"conn_type": "generic", "password": secrets.token_hex(8)},
            **{name: {**trainer, "password": secrets.token_hex(8)} for name in APIS},
        }

    def _options(self) -> dict[str, str]:
        return {
            "approvals.policy_file": str(self.room / "policy.yaml"),
            "approvals.projection_file": str(self.room / "projection.json"),
            "approvals.protected_connections": ",".join(("training_bucket", *APIS)),
            "approvals.service_accounts": AGENT,
            "approvals.signing_key_file": str(self._secret("signing_key")),
            "approvals.slack_bot_token_file": str(self._secret("slack_bot_token")),
            "approvals.slack_signing_secret_file": str(self._secret("slack_signing_secret")),
            "approvals.slack_channel": self.slack.channel,
            "approvals.slack_api_url": self.slack.url,
        }

    def _run_script(self, name: str) -> None:
        connections = {"APPROVALS_CONNECTIONS_FILE": str(self._secret("connections.json"))}
        done = subprocess.run(
            [SCRIPTS / name],
            env={**self.airflow.environment, **connections},
            cwd=self.room,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{name} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")


def fresh_room(room: Path = ROOM) -> None:
    """Throw the last demo away.

    :raises RuntimeError: while it is still running.
    """
    if still_running(room):
        raise RuntimeError("A demo is still running; end it with `make demo-down` first.")
    shutil.rmtree(room, ignore_errors=True)
    room.mkdir(mode=0o700)


def record_processes(processes: Mapping[str, int], room: Path = ROOM) -> None:
    """Write down what runs; a pid alone could be somebody else's by tomorrow."""
    born = {name: [pid, psutil.Process(pid).create_time()] for name, pid in processes.items()}
    (room / "running.json").write_text(json.dumps(born))


def still_running(room: Path = ROOM) -> dict[str, int]:
    """Return name to pid of what a recorded demo left running."""
    file = room / "running.json"
    born = json.loads(file.read_text()) if file.exists() else {}
    return {name: pid for name, (pid, since) in born.items() if _is_the_same(pid, since)}


def end_recorded(room: Path = ROOM) -> int:
    """End a recorded demo; return how many processes it had."""
    running = still_running(room)
    for name in sorted(running, key=lambda name: name.startswith(("api-server", "slack"))):
        end_tree(running[name])
    (room / "running.json").unlink(missing_ok=True)
    return len(running)


def _is_the_same(pid: int, since: float) -> bool:
    with suppress(psutil.NoSuchProcess):
        return abs(psutil.Process(pid).create_time() - since) < 1.0
    return False


def _write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
