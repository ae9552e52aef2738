"""Start a retraining job, after people have agreed to the data it learns from.

The job is started through the Connection ``training_api``. It is protected: Airflow hands it
to ``start_training`` only, and only while the approval of this run holds. Code that asks for
it anywhere else gets a refusal, and the attempt is in the audit ledger.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.sdk import BaseHook, dag, task

from airflow_approvals.operators.classify import ClassifyDataOperator
from airflow_approvals.operators.mask import MaskDataOperator
from airflow_approvals.sensors.approval import ApprovalSensor

RAW = os.environ.get("AIRFLOW_APPROVALS_DEMO_DATA", str(Path(__file__).parent / "data"))
MASKED = os.environ.get("AIRFLOW_APPROVALS_DEMO_MASKED", str(Path.home() / "masked"))


@task
def start_training(grant: dict[str, Any], manifest: dict[str, Any]) -> int:
    """Post the job; the grant goes along, so that the receiver can check it too."""
    import httpx

    api = BaseHook.get_connection("training_api")
    answer = httpx.post(
        f"http://{api.host}:{api.port}/jobs",
        json={"manifest": manifest, "grant": grant["jws"]},
        headers={"Authorization": f"Bearer {api.password}"},
        timeout=30,
    )
    return answer.raise_for_status().status_code


@dag(schedule=None, catchup=False, tags=["approvals"], doc_md=__doc__)
def gated_retraining() -> None:
    """Mask, classify, ask, train."""
    mask = MaskDataOperator(
        task_id="mask",
        source=f"{RAW}/tickets.csv",
        target=f"{MASKED}/retraining/{{{{ run_id }}}}/{{{{ ti.try_number }}}}",
        profile="llm-training",
    )
    classify = ClassifyDataOperator(task_id="classify", source=mask.output)
    gate = ApprovalSensor(
        task_id="gate",
        action="retrain",
        sink="training-api",
        manifest=mask.output,
        evidence=classify.output,
        reason="The support assistant learns from last month's tickets",
    )
    start_training(gate.output, mask.output)


gated_retraining()
