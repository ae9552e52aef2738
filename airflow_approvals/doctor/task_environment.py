"""What a task could find in its own environment: the ways around that no server can see.

Source: Airflow's security model. Whoever runs code as the worker's user reads the worker's
environment and files, so what opens a sink or signs tokens must not be there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from airflow_approvals.doctor.findings import Finding, Severity, Surroundings

#: (section, option): what it lets whoever reads it do.
_KEYS = {
    ("api_auth", "jwt_secret"): "sign a token of any task, and with it fetch any Connection",
    ("api_auth", "jwt_private_key_path"): "sign a token of any task, and with it fetch any Connection",
    ("database", "sql_alchemy_conn"): "write task states, grants and Connections into the metadata database",
    (
        "database",
        "sql_alchemy_conn_async",
    ): "write task states, grants and Connections into the metadata database",
    # Where it is a database, it mostly is the metadata database, with the same user.
    ("celery", "result_backend"): "write task states and grants where it is the metadata database",
    ("core", "fernet_key"): "decrypt Connections taken from a copy of the metadata database",
    ("api", "secret_key"): "forge signed state of the web server",
}
_VARIANTS = ("", "_cmd", "_secret")


def tasks_beside_the_server(around: Surroundings) -> Iterator[Finding]:
    """Tasks that run as children of the scheduler share its files and its environment.

    Impersonation changes nothing: the DAG file is parsed before the user is changed, `sudo -E`
    keeps the environment, and a task's own `run_as_user` comes first.

    Source: ``task_runner.py`` of apache-airflow-task-sdk 1.3 (``_get_run_as_user``, ``startup``).
    """
    if around.worker or "LocalExecutor" not in around.executors:
        return
    yield Finding(
        "local_executor",
        Severity.CRITICAL,
        "LocalExecutor runs tasks beside the scheduler, with its environment.",
        "A task can read the database URL and the JWT secret from the scheduler's environment or files.",
        "Run tasks in an environment of their own: CeleryExecutor or KubernetesExecutor.",
    )


def keys_of_the_server(around: Surroundings) -> Iterator[Finding]:
    """The JWT secret, the database URL and their like, where tasks run."""
    if not around.worker:
        return
    for (section, option), power in _KEYS.items():
        for variant in _VARIANTS:
            if place := _where(around, section, option + variant):
                yield Finding(
                    f"task_reads_{option}",
                    Severity.CRITICAL,
                    f"[{section}] {option} is set in {place}, where tasks run.",
                    f"Whoever reads it can {power}.",
                    "Set it only for API servers, schedulers and DAG processors.",
                )


def _where(around: Surroundings, section: str, option: str) -> str:
    variable = f"AIRFLOW__{section}__{option}".upper()
    if around.environ.get(variable):
        return f"the environment ({variable})"
    return "the configuration file" if (section, option) in around.written else ""


def connections_known(around: Surroundings) -> Iterator[Finding]:
    """Without an id there is nothing to look for."""
    if around.worker and not around.connections:
        yield Finding(
            "no_connection_known",
            Severity.CRITICAL,
            "No protected connection is named in this environment.",
            "Whether one of them resolves here without a grant could not be looked at.",
            "Set [approvals] protected_connections, or projection_file, for workers as well.",
        )


def connections_in_reach(around: Surroundings) -> Iterator[Finding]:
    """A protected Connection that resolves without asking the API server needs no grant."""
    by_upper = {name.upper(): name for name in around.environ}
    for conn_id in around.connections:
        if f"AIRFLOW_CONN_{conn_id}".upper() in by_upper and _tasks_share_environment(around):
            yield _in_reach(conn_id, "the environment", "Remove the variable")
    if _tasks_share_environment(around) or _names_backend_of_workers(around):
        yield from _behind_backend(around)


def _names_backend_of_workers(around: Surroundings) -> bool:
    named = bool(around.environ.get("AIRFLOW__WORKERS__SECRETS_BACKEND"))
    return named or ("workers", "secrets_backend") in around.written


def _tasks_share_environment(around: Surroundings) -> bool:
    return around.worker or "LocalExecutor" in around.executors


def _behind_backend(around: Surroundings) -> Iterator[Finding]:
    """Ask the backend that workers use: their own, or where none is named the one of [secrets]."""
    from airflow.configuration import conf

    backend = conf._get_custom_secret_backend(worker_mode=True)
    if backend is None:
        return
    for conn_id in around.connections:
        if backend.get_connection(conn_id) is not None:
            place = f"the workers' secrets backend ({type(backend).__name__})"
            yield _in_reach(conn_id, place, "Take it out of what workers may read")


def _in_reach(conn_id: str, place: str, fix: str) -> Finding:
    return Finding(
        "connection_in_reach",
        Severity.CRITICAL,
        f"Protected connection {conn_id} resolves from {place}, without the API server.",
        "A task gets the credential without a grant, and nothing is entered into the ledger.",
        f"{fix}; define the connection in the metadata database or in a backend of the server only.",
    )


def secret_files_in_reach(around: Surroundings) -> Iterator[Finding]:
    """Secret files of the control plane that a task's user can read."""
    if not around.worker:
        return
    for option, path in around.settings.secret_files.items():
        if os.access(path, os.R_OK):
            yield Finding(
                "task_reads_secret_file",
                Severity.CRITICAL,
                f"The file of [approvals] {option} can be read where tasks run.",
                "A task could sign grants or clicks, or use the custodian's credentials.",
                "Keep the file on the control plane's machines only, readable by its user only.",
            )


CHECKS = (
    tasks_beside_the_server,
    keys_of_the_server,
    connections_known,
    connections_in_reach,
    secret_files_in_reach,
)
