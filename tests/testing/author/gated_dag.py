"""A gated DAG as somebody could write it: the task behind the gate opens the sink's connection."""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import DAG, task
from airflow.sdk.bases.hook import BaseHook

from airflow_approvals.core.digest import canonical_bytes, sha256_digest
from airflow_approvals.core.manifest import Manifest, ObjectEntry
from airflow_approvals.sensors.approval import ApprovalSensor

ROOM = Path(os.environ["AUTHOR_ROOM"])


@task
def prepare() -> dict[str, str]:
    content = b"masked line\n"
    (ROOM / "lines.txt").write_bytes(content)
    entry = ObjectEntry("lines.txt", sha256_digest(content), len(content), 1, "text")
    manifest = Manifest((entry,), "test", sha256_digest(b"profile"), "none", "0", ())
    path = ROOM / "_manifest.json"
    path.write_bytes(canonical_bytes(manifest.to_document()))
    return {"uri": path.as_uri(), "digest": manifest.digest}


@task
def release() -> None:
    (ROOM / "released").write_text(str(BaseHook.get_connection("sink_a").host))


@task
def walk_around() -> None:
    (ROOM / "stolen").write_text(str(BaseHook.get_connection("sink_a").host))


with DAG("authors_dag", schedule=None) as dag:
    made = prepare()
    gate = ApprovalSensor(task_id="gate", action="export", sink="sink-a", manifest=made)
    gate >> release()
    made >> walk_around()
