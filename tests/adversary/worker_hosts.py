"""Hosts for workers: a home, an environment and, where this machine lets us, a user of their own."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.adversary.copies import write_copy
from tests.adversary.sinks import PASSWORD, Sink
from tests.live.airflow_processes import AirflowDeployment

#: ``[core] executor`` of a deployment that has the hosts; a DAG says ``executor="other_user"``.
EXECUTORS = "LocalExecutor,other_user:other_user_executor.OtherUserExecutor"
#: What a task must not be able to read, below the server's home.
SECRET_FILES = ("keys.json", "airflow.cfg", "signing.pem", "airflow.db")
PROJECT = Path(__file__).resolve().parents[2]
CONFIG = """
[core]
load_examples = False
executor = other_user:other_user_executor.OtherUserExecutor
dags_folder = {home}/dags
execution_api_server_url = {server}/execution/

[logging]
base_log_folder = {home}/logs

[approvals]
projection_file = {folder}/projection.json
protected_connections = sink_a,sink_b
"""


@dataclass(frozen=True)
class Host:
    """Where a worker runs; ``uid`` 0 stands for the tests' own user."""

    home: Path
    environment: Mapping[str, str]
    python: str
    uid: int

    def doctor(self) -> set[str]:
        """Run ``airflow approvals doctor --worker`` as a task there could; return what it finds."""
        done = subprocess.run(
            [self.python, "-m", "airflow", "approvals", "doctor", "--worker", "--json"],
            env=dict(self.environment),
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            **self.credentials,
        )
        report = re.search(r"^\[.*", done.stdout, re.MULTILINE | re.DOTALL)
        assert report, done.stdout + done.stderr
        found = {finding["check"] for finding in json.loads(report.group())}
        assert done.returncode == (1 if found else 0)
        return found

    @property
    def credentials(self) -> dict[str, Any]:
        """Options of ``subprocess`` for the user of the host."""
        return {"user": self.uid, "group": self.uid, "extra_groups": []} if self.uid else {}

    def to_document(self) -> dict[str, object]:
        return {
            "home": str(self.home),
            "environment": dict(self.environment),
            "python": self.python,
            "uid": self.uid,
        }


def install(home: Path, extras: Path) -> None:
    """Give the scheduler of that home an executor for other hosts, and the DAGs that use it."""
    shutil.copytree(extras / "config", home / "config")
    shutil.copytree(extras / "dags", home / "dags", dirs_exist_ok=True)


@contextmanager
def hosts(airflow: AirflowDeployment, sink: Sink, *, database: str) -> Iterator[dict[str, Host]]:
    """Make the hosts ``bare`` and ``careless``; the second knows what the server knows.

    :param sink: the destination whose Connection stands in the environment of ``careless``.
    """
    python, uid = _interpreter()
    folder = Path(tempfile.mkdtemp(prefix="approvals-hosts-"))
    folder.chmod(0o755)
    # What tasks go by and cannot change.
    shutil.copy(airflow.home / "projection.json", folder)
    made = {}
    for name in ("bare", "careless"):
        home = folder / name
        write_copy(home / "room")
        secret_files = [str(airflow.home / file) for file in SECRET_FILES]
        (home / "room" / "secret_files.json").write_text(json.dumps(secret_files))
        shutil.copytree(airflow.dags_folder, home / "dags", ignore=shutil.ignore_patterns("__pycache__"))
        (home / "airflow.cfg").write_text(CONFIG.format(home=home, folder=folder, server=airflow.url()))
        secret = _secrets(airflow, sink, database) if name == "careless" else {}
        made[name] = Host(home, {**_environment(home, python), **secret}, python, uid)
        for path in (home, *home.rglob("*")):
            os.chown(path, uid or os.getuid(), uid or os.getgid())
    (airflow.home / "hosts.json").touch(mode=0o600)
    (airflow.home / "hosts.json").write_text(json.dumps({n: host.to_document() for n, host in made.items()}))
    try:
        yield made
    finally:
        shutil.rmtree(folder)


def _environment(home: Path, python: str) -> dict[str, str]:
    return {
        "HOME": str(home),
        "PATH": f"{Path(python).parent}{os.pathsep}{os.defpath}",
        "PYTHONPATH": os.pathsep.join([sysconfig.get_path("purelib"), str(PROJECT)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AIRFLOW_HOME": str(home),
        "APPROVALS_FLOW_ROOM": str(home / "room"),
        "NO_PROXY": "127.0.0.1",
    }


def _secrets(airflow: AirflowDeployment, sink: Sink, database: str) -> dict[str, str]:
    """What must not be where tasks run, and often is."""
    keys = json.loads((airflow.home / "keys.json").read_text())
    url = f"sqlite:///{airflow.home}/airflow.db" if database == "sqlite" else database
    return {
        "AIRFLOW__API_AUTH__JWT_SECRET": keys["api_auth.jwt_secret"],
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url,
        "AIRFLOW_CONN_SINK_B": f"generic://:{PASSWORD}@127.0.0.1:{sink.port}",
    }


def _interpreter() -> tuple[str, int]:
    """Return an interpreter that the user ``nobody`` can run with our packages, else our own and user 0."""
    nobody = pwd.getpwnam("nobody").pw_uid
    beside = shutil.which(f"python{sys.version_info.major}.{sys.version_info.minor}", path=os.defpath)
    environment = {"PYTHONPATH": os.pathsep.join([sysconfig.get_path("purelib"), str(PROJECT)])}
    for python in [sys.executable, *([beside] if beside else [])] if os.getuid() == 0 else []:
        try:
            subprocess.run(
                [python, "-c", "import airflow_approvals, pydantic_core, sqlalchemy"],
                env=environment,
                cwd="/",
                user=nobody,
                group=nobody,
                extra_groups=[],
                check=True,
                capture_output=True,
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return python, nobody
    return sys.executable, 0
