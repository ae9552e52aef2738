"""Tasks of worker hosts: ``bare`` has no secret of the control plane, ``careless`` has them all."""

from __future__ import annotations

import json
import os
import urllib.request
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from airflow.sdk.bases.hook import BaseHook

from airflow_approvals.sensors.approval import ApprovalSensor

ROOM = Path(os.environ["APPROVALS_FLOW_ROOM"])
MANIFEST = json.loads((ROOM / "reference.json").read_text())
GIVEN = {"run_id": "{{ run_id }}", "task_id": "{{ task.task_id }}"}


def send(run_id: str, task_id: str, where: str = "sink_a") -> None:
    connection = BaseHook.get_connection(where)
    url = f"http://{connection.host}:{connection.port}/{quote(run_id, safe='')}/{quote(task_id, safe='')}"
    call = urllib.request.Request(url, method="POST", headers={"X-Password": connection.password or ""})
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(call, timeout=10).close()


def look_around(run_id: str, task_id: str) -> None:
    """Write down what there is to find, then try to send."""
    secret_files = json.loads((ROOM / "secret_files.json").read_text())
    found = {
        "uid": os.getuid(),
        "environment": dict(os.environ),
        "readable": [path for path in secret_files if os.access(path, os.R_OK)],
    }
    (ROOM / "found.json").write_text(json.dumps(found))
    send(run_id, task_id)


def on(queue: str) -> dict[str, str]:
    return {"executor": "other_user", "queue": queue}


with DAG("elsewhere", schedule=None, catchup=False, default_args=on("bare")):
    gate = ApprovalSensor(
        task_id="gate",
        action="export",
        sink="sink-a",
        manifest=MANIFEST,
        reason="a release on a host of its own",
        timeout=timedelta(hours=1),
    )
    gate >> PythonOperator(task_id="use", python_callable=send, op_kwargs=GIVEN)
    PythonOperator(task_id="beside", python_callable=look_around, op_kwargs=GIVEN)

with DAG("careless_host", schedule=None, catchup=False, default_args=on("careless")):
    PythonOperator(task_id="use", python_callable=send, op_kwargs={**GIVEN, "where": "sink_b"})
