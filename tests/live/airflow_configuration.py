"""What a test's Airflow is configured with: one ``airflow.cfg``, secrets in files only.

Nothing secret goes through the environment, because tasks inherit it: the guarantees of the
gate do not hold where a task can read the server's signing secret from its environment.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Accounts:
    """SimpleAuthManager's users: role and password per name, and where the passwords lie."""

    roles: Mapping[str, str]
    passwords: Mapping[str, str]
    file: Path

    @classmethod
    def at(cls, home: Path, roles: Mapping[str, str]) -> Accounts:
        """Create the password file, or take over the passwords of an existing one."""
        file = home / "passwords.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        passwords = {name: known.get(name) or secrets.token_urlsafe(9) for name in roles}
        _write_secret(file, json.dumps(passwords))
        return cls(dict(roles), passwords, file)

    @property
    def admin(self) -> str:
        return next(name for name, role in self.roles.items() if role == "admin")


def free_ports(home: Path, count: int) -> Sequence[int]:
    """Choose ports that are free now; a home keeps its ports, so that links into it stay right."""
    file = home / "ports.json"
    if file.exists():
        return [int(port) for port in json.loads(file.read_text())]
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = [one.getsockname()[1] for one in sockets]
    file.write_text(json.dumps(ports))
    return ports


def clean_environment() -> dict[str, str]:
    """The caller's environment without its Airflow, and without a proxy for the loopback."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**kept, "PATH": path, "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}


def airflow_cfg(
    home: Path,
    dags_folder: Path,
    accounts: Accounts,
    ports: Sequence[int],
    *,
    database_url: str,
    options: Mapping[str, str],
) -> str:
    """Return the text of ``airflow.cfg``; ``options`` win over the defaults here.

    :param ports: one per api-server, then the one of the worker's log server.
    """
    url = f"http://127.0.0.1:{ports[0]}"
    chosen = {
        **_QUICK,
        **_keys(home),
        "core.dags_folder": str(dags_folder),
        "core.execution_api_server_url": f"{url}/execution/",
        "core.simple_auth_manager_users": ",".join(f"{n}:{r}" for n, r in accounts.roles.items()),
        "core.simple_auth_manager_passwords_file": str(accounts.file),
        "database.sql_alchemy_conn": database_url,
        "api.port": str(ports[0]),
        "api.base_url": url,
        "logging.base_log_folder": str(home / "logs"),
        "logging.worker_log_server_port": str(ports[-1]),
        **options,
    }
    return _sections(chosen)


_QUICK = {
    "core.executor": "LocalExecutor",
    "core.parallelism": "4",
    "core.load_examples": "False",
    "core.dags_are_paused_at_creation": "False",
    "database.load_default_connections": "False",
    "api.host": "127.0.0.1",
    "api.workers": "1",
    # Several deployments share two processors: an idle scheduler that looks every 0.3 s takes a tenth of one.
    "scheduler.scheduler_idle_sleep_time": "0.7",
    "scheduler.trigger_timeout_check_interval": "3",
    "dag_processor.refresh_interval": "3",
    "dag_processor.bundle_refresh_check_interval": "1",
    # A file that was edited is read again at once; one that was not says nothing new.
    "dag_processor.min_file_process_interval": "150",
    # A file whose code opens a Connection waits until a busy machine has built the API that answers.
    "core.dagbag_import_timeout": "150",
    "dag_processor.dag_file_processor_timeout": "200",
    "dag_processor.parsing_processes": "1",
    "usage_data_collection.enabled": "False",
}


def _keys(home: Path) -> dict[str, str]:
    """The deployment's own keys, random once and the same after a restart."""
    file = home / "keys.json"
    if not file.exists():
        fernet = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        keys = {
            "core.fernet_key": fernet,
            "api.secret_key": secrets.token_hex(32),
            "api_auth.jwt_secret": secrets.token_hex(32),
        }
        _write_secret(file, json.dumps(keys))
    return dict(json.loads(file.read_text()))


def _sections(options: Mapping[str, str]) -> str:
    sections: dict[str, list[str]] = {}
    for name, value in options.items():
        section, _, option = name.partition(".")
        # The file is read with interpolation: a literal percent sign is written twice.
        sections.setdefault(section, []).append(f"{option} = {value.replace('%', '%%')}")
    return "\n".join(f"[{name}]\n" + "\n".join(lines) + "\n" for name, lines in sections.items())


def _write_secret(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(text)
