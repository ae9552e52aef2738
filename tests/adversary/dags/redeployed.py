"""A DAG whose file is edited while its gate waits: tests do that to their copy of it."""

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

MANIFEST = json.loads((Path(os.environ["APPROVALS_FLOW_ROOM"]) / "reference.json").read_text())


def send(run_id: str, which: str) -> None:
    connection = BaseHook.get_connection("sink_a")
    url = f"http://{connection.host}:{connection.port}/{quote(run_id, safe='')}/{quote(which, safe='')}"
    call = urllib.request.Request(url, method="POST", headers={"X-Password": connection.password or ""})
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(call, timeout=10).close()


with DAG("redeployed", schedule=None, catchup=False):
    gate = ApprovalSensor(
        task_id="gate",
        action="export",
        sink="sink-a",
        manifest=MANIFEST,
        timeout=timedelta(hours=1),
    )
    gate >> PythonOperator(
        task_id="use", python_callable=send, op_kwargs={"run_id": "{{ run_id }}", "which": "half"}
    )
