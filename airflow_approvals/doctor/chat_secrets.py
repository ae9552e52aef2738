"""Chat secrets: out of the reach of tasks, so in no Connection and in no backend that workers use."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from airflow_approvals.config.named_secrets import CHAT_SECRETS, is_named, key_of, named_secret
from airflow_approvals.doctor.findings import Finding, Severity, Surroundings
from airflow_approvals.seams.airflow_seams_connections import connections_holding
from airflow_approvals.store.session import run_read


def chat_secrets_in_connections(around: Surroundings) -> Iterator[Finding]:
    """Whoever may edit or use such a Connection could sign clicks as anyone."""
    named = () if around.worker else [name for name in CHAT_SECRETS if is_named(around.settings, name)]
    secrets = {secret for name in named for secret in named_secret(around.settings, name).split()}
    if not secrets:
        return
    for conn_id in run_read(partial(connections_holding, secrets=secrets)):
        yield Finding(
            "chat_secret_in_connection",
            Severity.CRITICAL,
            f"Connection {conn_id} in the metadata database holds a chat secret of [approvals].",
            "Any task may read it, and then sign clicks as anyone or post as the bot.",
            "Delete the Connection and replace the secret: it may have been read.",
        )


def chat_secrets_behind_backend(around: Surroundings) -> Iterator[Finding]:
    """What the server's backend keeps is a secret only while tasks cannot ask that backend."""
    settings = around.settings
    keys = {name: key for name in CHAT_SECRETS if (key := key_of(settings, name)) is not None}
    if not keys or not (around.worker or "LocalExecutor" in around.executors):
        return
    from airflow.configuration import get_custom_secret_backend

    backend = get_custom_secret_backend(worker_mode=True)
    for name, key in keys.items():
        if backend is not None and backend.get_config(key) is not None:
            yield Finding(
                "chat_secret_in_reach",
                Severity.CRITICAL,
                f"What [approvals] {name}_secret names can be read where tasks run.",
                "A task could sign clicks as anyone or post as the bot.",
                "Give workers a backend of their own ([workers] secrets_backend) that cannot read it.",
            )


CHECKS = (chat_secrets_in_connections, chat_secrets_behind_backend)
