"""A real Airflow for tests and the demo: api-server, scheduler and dag-processor as processes.

No triggerer is ever started: a gate must park without one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.live.airflow_configuration import Accounts, airflow_cfg, clean_environment, free_ports
from tests.live.airflow_documents import api_client, errors_in, instance_name, pauses, run_path
from tests.live.process_groups import RunningProcess, start_process, tail

START_SECONDS = 300.0
SERVE = Path(__file__).resolve().parents[2] / "docker" / "scripts" / "serve.sh"


class AirflowDeployment:
    """One Airflow with its own home, database, ports and users.

    ::

        with AirflowDeployment(tmp_path, dags_folder=dags) as airflow:   # migrate, start, healthy
            run_id = airflow.trigger("export", "alice")
            airflow.wait_for(lambda: airflow.run_state("export", run_id) == "success", timeout=60)

    :param home: becomes ``AIRFLOW_HOME``; an existing one is used again (ports, keys, users).
    :param database: ``sqlite``, or a SQLAlchemy URL of an empty PostgreSQL database.
    :param users: user name to SimpleAuthManager role; passwords are in :attr:`passwords`.
    :param config: ``"section.option"`` to value, on top of the defaults of
        :func:`~tests.live.airflow_configuration.airflow_cfg`.
    :param environment: extra environment of every process.
    :param api_servers: how many api-servers share the database; tasks talk to the first.
    """

    def __init__(
        self,
        home: Path,
        *,
        database: str = "sqlite",
        users: Mapping[str, str] | None = None,
        dags_folder: Path | None = None,
        config: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        api_servers: int = 1,
    ) -> None:
        self.home = home.resolve()
        self.dags_folder = (dags_folder or self.home / "dags").resolve()
        self.dags_folder.mkdir(parents=True, exist_ok=True)
        users = users or {"alice": "admin", "bob": "user", "carol": "user", "victor": "viewer"}
        self.database_url = f"sqlite:///{self.home}/airflow.db" if database == "sqlite" else database
        self._accounts = Accounts.at(self.home, users)
        self._ports = free_ports(self.home, api_servers + 1)
        self._processes: dict[str, RunningProcess] = {}
        self._tokens: dict[str, str] = {}
        self._reader: httpx.Client | None = None
        self._environment = {**clean_environment(), **(environment or {}), **self._homes()}
        (self.home / "airflow.cfg").write_text(
            airflow_cfg(
                self.home,
                self.dags_folder,
                self._accounts,
                self._ports,
                database_url=self.database_url,
                options=config or {},
            )
        )

    # -- life ----------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self.airflow("db", "migrate")
            self.start()
            self.wait_healthy()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start every process that does not run yet; returns at once."""
        self.start_api_servers()
        self._run("scheduler", "scheduler")
        self.start_dag_processor()

    def start_dag_processor(self) -> None:
        """Start what reads DAG files, so that there are DAGs before anything runs them."""
        self._run("dag-processor", "dag-processor")

    def start_api_servers(self) -> None:
        """Start the api-servers alone, for what needs no task to run."""
        for index in range(self.api_servers):
            self._run(f"api-server-{index}", "api-server", "--port", str(self._ports[index]))

    def wait_healthy(self, timeout: float = START_SECONDS) -> None:
        self.wait_for(self._healthy, timeout, "every part of Airflow to be healthy")

    def stop(self) -> None:
        """End every process and whatever it has started; also after a failed start."""
        for name in sorted(self._processes, key=lambda name: name.startswith("api-server")):
            self._processes.pop(name).stop()
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def kill_api_server(self, index: int = 0) -> None:
        """SIGKILL one api-server, as a crash would."""
        self._processes.pop(f"api-server-{index}").kill()

    def restart_api_server(self, index: int = 0) -> None:
        """Start one api-server again on its port and wait until it answers."""
        if running := self._processes.pop(f"api-server-{index}", None):
            running.stop()
        self.start()
        self.wait_for(lambda: self.answers(index), START_SECONDS, f"api-server {index} to answer")

    def processes(self) -> Mapping[str, int]:
        """Name to pid of what is running."""
        return {name: process.pid for name, process in self._processes.items()}

    # -- people --------------------------------------------------------------------------------

    @property
    def passwords(self) -> Mapping[str, str]:
        return self._accounts.passwords

    def token(self, user: str) -> str:
        """Return a bearer token of ``user``, asked for once."""
        if user not in self._tokens:
            body = {"username": user, "password": self.passwords[user]}
            answer = httpx.post(f"{self.url()}/auth/token", json=body, trust_env=False, timeout=120)
            self._tokens[user] = answer.raise_for_status().json()["access_token"]
        return self._tokens[user]

    def client(self, user: str, *, server: int = 0) -> httpx.Client:
        """Return a client that sends ``user``'s bearer token."""
        headers = {"Authorization": f"Bearer {self.token(user)}"}
        return self._client(server, headers=headers)

    def browser_session(self, user: str, *, server: int = 0) -> httpx.Client:
        """Return a client with the cookie in which SimpleAuthManager's login page stores a token."""
        return self._client(server, cookies={"_token": self.token(user)})

    def url(self, server: int = 0) -> str:
        return f"http://127.0.0.1:{self._ports[server]}"

    @property
    def api_servers(self) -> int:
        return len(self._ports) - 1

    # -- runs ----------------------------------------------------------------------------------

    def trigger(self, dag_id: str, user: str, conf: Mapping[str, Any] | None = None) -> str:
        """Trigger a run as ``user``, waiting for the DAG to be known; returns the run id."""
        self.wait_for_dag(dag_id)
        body = {"logical_date": None, "conf": dict(conf or {})}
        with self.client(user) as client:
            answer = client.post(f"/api/v2/dags/{dag_id}/dagRuns", json=body)
        return str(answer.raise_for_status().json()["dag_run_id"])

    def wait_for_dag(self, dag_id: str, timeout: float = 600.0) -> None:
        self.wait_for(
            lambda: self._read(f"/api/v2/dags/{dag_id}") is not None,
            timeout,
            lambda: f"DAG {dag_id} to be parsed; import errors: {self.import_errors()}",
        )

    def import_errors(self) -> dict[str, str]:
        """File name to stack trace of every DAG file that does not import."""
        errors = self._read("/api/v2/importErrors") or {"import_errors": []}
        return {one["filename"]: one["stack_trace"] for one in errors["import_errors"]}

    def run_state(self, dag_id: str, run_id: str) -> str | None:
        run = self._read(f"{run_path(dag_id, run_id)}")
        return run and run["state"]

    def task(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, Any] | None:
        """Return Airflow's task instance document, ``None`` when there is none."""
        index = "" if map_index < 0 else f"/{map_index}"
        return self._read(f"{run_path(dag_id, run_id)}/taskInstances/{task_id}{index}")

    def task_state(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str | None:
        task = self.task(dag_id, run_id, task_id, map_index)
        return task and task["state"]

    def wait_for_task(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        state: str,
        *,
        map_index: int = -1,
        timeout: float = 600.0,
    ) -> None:
        """:raises AssertionError: after ``timeout`` seconds, or when the run ends before."""
        self.wait_for(
            lambda: (
                self._over(dag_id, run_id) or self.task_state(dag_id, run_id, task_id, map_index) == state
            ),
            timeout,
            lambda: f"{task_id} to be {state}; {self._story(dag_id, run_id)}",
        )
        found = self.task_state(dag_id, run_id, task_id, map_index)
        assert found == state, f"{task_id} is {found}, not {state}; {self._story(dag_id, run_id)}"

    def wait_for_run(self, dag_id: str, run_id: str, state: str = "success", timeout: float = 600.0) -> None:
        """:raises AssertionError: after ``timeout`` seconds, or when the run ends otherwise."""
        self.wait_for(
            lambda: self._over(dag_id, run_id),
            timeout,
            lambda: f"run {run_id} to be {state}; {self._story(dag_id, run_id)}",
        )
        found = self.run_state(dag_id, run_id)
        assert found == state, f"run {run_id} is {found}, not {state}; {self._story(dag_id, run_id)}"

    def _over(self, dag_id: str, run_id: str) -> bool:
        return self.run_state(dag_id, run_id) in ("success", "failed")

    def _story(self, dag_id: str, run_id: str) -> str:
        """States of all tasks, and the errors in the logs of those that failed."""
        states = self.task_states(dag_id, run_id)
        failed = [name for name, state in states.items() if state in ("failed", "up_for_retry")]
        lines = [line for log in self.log_files() for line in errors_in(log) if run_id in str(log)]
        return f"states: {states}; failed: {failed}\n" + "\n".join(lines)

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """State of every task instance of a run; mapped ones as ``task[index]``."""
        found = self._read(f"{run_path(dag_id, run_id)}/taskInstances") or {"task_instances": []}
        return {instance_name(one): one["state"] for one in found["task_instances"]}

    def task_log(
        self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1
    ) -> str:
        """Return the log of one try as the API server serves it, one event per line."""
        path = f"{run_path(dag_id, run_id)}/taskInstances/{task_id}/logs/{try_number}"
        with self.client(self._accounts.admin) as client:
            headers = {"Accept": "application/json"}
            answer = client.get(path, params={"map_index": map_index}, headers=headers).raise_for_status()
        return "\n".join(json.dumps(event) for event in answer.json()["content"])

    # -- tools ---------------------------------------------------------------------------------

    def airflow(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Airflow's CLI in this deployment; standard output and error are in the result."""
        command = [sys.executable, "-m", "airflow", *arguments]
        done = subprocess.run(
            command, env=self._environment, cwd=self.home, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise RuntimeError(
                f"airflow {' '.join(arguments)}: code {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of every process of this deployment."""
        return dict(self._environment)

    def wait_for(
        self, wanted: Callable[[], Any], timeout: float, what: str | Callable[[], str] = "the condition"
    ) -> Any:
        """Return the first true value of ``wanted``.

        :raises AssertionError: when it stays false for ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        for pause in pauses():
            if value := wanted():
                break
            self.check_alive()
            if time.monotonic() > deadline:
                story = what() if callable(what) else what
                raise AssertionError(f"Waited {timeout:g} s for {story}.\n{self._tails()}")
            time.sleep(pause)
        return value

    def check_alive(self) -> None:
        """:raises RuntimeError: when a process of the deployment has ended meanwhile."""
        for process in self._processes.values():
            process.check_alive()

    def log_files(self) -> Iterator[Path]:
        """Every log: of the processes, and of each try of each task."""
        for folder in (self.home / "process-logs", self.home / "logs"):
            yield from (path for path in sorted(folder.rglob("*.log")) if path.is_file())

    # -- inside --------------------------------------------------------------------------------

    def _run(self, name: str, *arguments: str) -> None:
        if name in self._processes:
            return
        self._processes[name] = start_process(
            name,
            [str(SERVE), *arguments],
            log=self.home / "process-logs" / f"{name}.log",
            environment=self._environment,
            cwd=self.home,
        )

    def _homes(self) -> dict[str, str]:
        return {"AIRFLOW_HOME": str(self.home), "AIRFLOW_CONFIG": str(self.home / "airflow.cfg")}

    def _client(self, server: int, **options: Any) -> httpx.Client:
        log = self.home / "process-logs" / f"api-server-{server}.log"
        return api_client(self.url(server), log, **options)

    def _read(self, path: str) -> Any:
        # One client for all reading: making one costs more than an answer does.
        if self._reader is None:
            self._reader = self.client(self._accounts.admin)
        answer = self._reader.get(path)
        return None if answer.status_code == httpx.codes.NOT_FOUND else answer.raise_for_status().json()

    def _healthy(self) -> bool:
        return all(self.answers(index) for index in range(self.api_servers)) and all(
            (self._health(0).get(part) or {}).get("status") == "healthy"
            for part in ("metadatabase", "scheduler", "dag_processor")
        )

    def answers(self, server: int = 0) -> bool:
        """Whether an api-server answers and reaches its database."""
        return (self._health(server).get("metadatabase") or {}).get("status") == "healthy"

    def _health(self, server: int) -> dict[str, Any]:
        try:
            with self._client(server) as client:
                return dict(client.get("/api/v2/monitor/health").raise_for_status().json())
        except httpx.HTTPError:
            return {}

    def _tails(self) -> str:
        return "\n".join(f"== {name}\n{tail(one.log, 15)}" for name, one in self._processes.items())
