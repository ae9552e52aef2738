"""A DAG of which an imported module is edited while its gate waits."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from sending import send

from airflow_approvals.sensors.approval import ApprovalSensor

MANIFEST = json.loads((Path(os.environ["APPROVALS_FLOW_ROOM"]) / "reference.json").read_text())

with DAG("edited_module", schedule=None, catchup=False):
    gate = ApprovalSensor(
        task_id="gate",
        action="export",
        sink="sink-a",
        manifest=MANIFEST,
        timeout=timedelta(hours=1),
    )
    gate >> PythonOperator(
        task_id="use",
        python_callable=send,
        op_kwargs={"run_id": "{{ run_id }}", "which": "{{ task.task_id }}"},
    )
