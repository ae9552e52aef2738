"""A gated Airflow under attack, and the words of an attacker.

Every run that a test needs is started before the first test, so that gates park while other
tests attack; a test takes its run when it begins.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from airflow_approvals.control.signing import generate_key_file
from tests.adversary.copies import write_copy
from tests.adversary.insider import Insider
from tests.adversary.sinks import PASSWORD, Sink
from tests.adversary.worker_hosts import Host
from tests.flows.gated import Gated
from tests.live.airflow_processes import AirflowDeployment

HERE = Path(__file__).parent
SLACK_SECRET = "a-signing-secret-under-attack"
TEAM = "T0ADVERSARY"
#: alice and adam administrate; adam, bob, carol and rita have seats; dave has one of two.
#: robot is a program's account that sits in a group all the same.
USERS = {
    "alice": "admin", "adam": "admin", "olga": "op", "bob": "user", "carol": "user", "dave": "user",
    "rita": "user", "viewer": "viewer", "robot": "user",
}  # fmt: skip
#: By kind of attacker: who starts the run and then tries to get around its gate.
ATTACKERS = {"user": "rita", "admin": "adam"}


@dataclass(frozen=True)
class Scene:
    """One run under attack."""

    world: World
    dag_id: str
    run_id: str
    #: Who started the run, and attacks it.
    attacker: str

    @property
    def path(self) -> str:
        return f"/api/v2/dags/{self.dag_id}/dagRuns/{self.run_id}"

    def state(self, task_id: str = "use", map_index: int = -1) -> str | None:
        return self.world.state(self.dag_id, self.run_id, task_id, map_index)

    def until_state(self, task_id: str, *wanted: str) -> None:
        self.world.until(lambda: self.state(task_id) in wanted, f"{task_id} of {self.run_id} is {wanted}")

    def request(self, task_id: str = "gate") -> dict[str, Any]:
        return self.world.request(self.run_id, task_id=task_id)

    def approve(self, by: str = "bob") -> None:
        answer = self.world.vote(self.request()["id"], by)
        assert answer.status_code == 200, answer.text

    def finish(self) -> str:
        return self.world.finish(self.dag_id, self.run_id)

    def calls(self) -> list[str]:
        """The tasks of the run that released something."""
        return [task for sink in self.world.sinks for task in sink.calls(self.run_id)]

    def entries(self, kind: str, **wanted: Any) -> list[dict[str, Any]]:
        return self.world.entries(kind=kind, run_id=self.run_id, **wanted)

    def until_entry(self, kind: str, **wanted: Any) -> dict[str, Any]:
        """Wait for a ledger entry of the run and return the first."""
        found = self.world.until(lambda: self.entries(kind, **wanted), f"{kind} {wanted} of {self.run_id}")
        return found[0]

    def until_entries(self, count: int, kind: str, **wanted: Any) -> None:
        """Wait for that many: an override is entered after Airflow's answer has been sent on."""
        what = f"{count} times {kind} {wanted} of {self.run_id}"
        self.world.until(lambda: len(self.entries(kind, **wanted)) == count, what)

    def call(self, method: str, path: str = "", *, user: str | None = None, **options: Any) -> httpx.Response:
        """Call Airflow's API on the run as the attacker."""
        return self.world.as_user(user or self.attacker).request(method, self.path + path, **options)

    def clear(self, *task_ids: str, user: str | None = None, **options: Any) -> httpx.Response:
        body = {
            "dry_run": False,
            "dag_run_id": self.run_id,
            "task_ids": list(task_ids),
            "only_failed": False,
            "reset_dag_runs": True,
            **options,
        }
        path = f"/api/v2/dags/{self.dag_id}/clearTaskInstances"
        return self.world.as_user(user or self.attacker).post(path, json=body)

    def insider(self, task_id: str = "hold") -> Insider:
        """Whoever holds the token of a task of the run."""
        return self.world.insider(self.dag_id, self.run_id, task_id)

    def let_go(self) -> None:
        (self.world.home / "room" / f"{_file_name(self.run_id)}.go").touch()


@dataclass(frozen=True)
class Asked:
    """Which run a test wants, as its marker says."""

    dag_id: str
    user: str
    conf: tuple[tuple[str, str], ...] = ()
    #: Tests that only ask and are refused share a run under one name.
    shared: str = ""


class World(Gated):
    """A deployment, two sinks, and the runs that are under attack."""

    def __init__(self, airflow: AirflowDeployment, home: Path, sinks: tuple[Sink, Sink]) -> None:
        super().__init__(airflow, home)
        self.sinks = sinks
        #: Where workers of the second executor run, by queue.
        self.hosts: Mapping[str, Host] = {}
        #: What commands at the server's shell printed, by their names.
        self.shell: Mapping[str, str] = {}
        #: Runs that were approved on purpose.
        self.meant: set[str] = set()
        self._runs: dict[tuple[str, Asked], str] = {}

    def prepare(self, wanted: Iterable[tuple[str, Asked]]) -> None:
        """Start all runs; one that cannot be started now is started when its test begins."""
        for key in wanted:
            if key not in self._runs:
                self._runs[key] = self._start(key[1])

    def scene(self, name: str, asked: Asked) -> Scene:
        key = (asked.shared or name, asked)
        if key not in self._runs:
            self._runs[key] = self._start(asked)
        return Scene(self, asked.dag_id, self._runs[key], asked.user)

    def new(self, dag_id: str, user: str, **conf: str) -> Scene:
        """Start one more run now."""
        return Scene(self, dag_id, self.airflow.trigger(dag_id, user, conf=conf), user)

    def insider(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Insider:
        found = self.airflow.task(dag_id, run_id, task_id, map_index)
        assert found is not None, f"{task_id} of {run_id} is not there"
        return Insider(self.airflow.url(), self.secret, found["id"])

    @property
    def secret(self) -> str:
        """What tokens are signed with: a test mints the token that a worker was given."""
        return str(json.loads((self.home / "keys.json").read_text())["api_auth.jwt_secret"])

    def _start(self, asked: Asked) -> str:
        self.airflow.wait_for_dag(asked.dag_id)
        body = {"logical_date": None, "conf": dict(asked.conf)}
        answer = self.as_user(asked.user).post(f"/api/v2/dags/{asked.dag_id}/dagRuns", json=body)
        return str(answer.raise_for_status().json()["dag_run_id"])


def deploy(
    home: Path,
    sinks: tuple[Sink, Sink],
    *,
    database: str = "sqlite",
    environment: Mapping[str, str] | None = None,
    config: Mapping[str, str] | None = None,
    dags: Path = HERE / "dags",
    policy: str = (HERE / "policy.yaml").read_text(),
) -> AirflowDeployment:
    """Prepare a deployment whose sinks listen on the loopback; not started yet."""
    home.mkdir(parents=True, exist_ok=True)
    write_copy(home / "room")
    generate_key_file(home / "signing.pem")
    (home / "policy.yaml").write_text(policy.replace("@CUSTODY@", (home / "custody").as_uri()))
    (home / "slack-secret").touch(mode=0o600)
    (home / "slack-secret").write_text(SLACK_SECRET)
    deployment = AirflowDeployment(
        home,
        database=database,
        users=USERS,
        dags_folder=dags,
        environment={"APPROVALS_FLOW_ROOM": str(home / "room"), **(environment or {})},
        config={
            "core.parallelism": "6",
            "core.max_active_runs_per_dag": "200",
            "core.max_active_tasks_per_dag": "200",
            "approvals.policy_file": str(home / "policy.yaml"),
            "approvals.projection_file": str(home / "projection.json"),
            "approvals.protected_connections": "sink_a,sink_b",
            "approvals.service_accounts": "robot",
            "approvals.signing_key_file": str(home / "signing.pem"),
            "approvals.slack_signing_secret_file": str(home / "slack-secret"),
            "approvals.dispatcher_interval_seconds": "0.7",
            **(config or {}),
        },
    )
    commands = [["db", "migrate"], *(_added(f"sink_{n}", sink) for n, sink in zip("ab", sinks, strict=True))]
    run_commands(deployment, [*commands, ["approvals", "policy", "activate"]])
    return deployment


def _added(conn_id: str, sink: Sink) -> list[str]:
    options = {"type": "generic", "host": "127.0.0.1", "port": str(sink.port), "password": PASSWORD}
    return ["connections", "add", conn_id, *(x for k, v in options.items() for x in (f"--conn-{k}", v))]


def run_commands(deployment: AirflowDeployment, commands: list[list[str]]) -> str:
    """Run commands of Airflow's CLI in one process: importing Airflow is most of what each costs."""
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
    return done.stdout + done.stderr


def _file_name(run_id: str) -> str:
    return run_id.replace(":", "_").replace("+", "_")
