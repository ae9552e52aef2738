"""Export support tickets and application logs for training, after people have agreed.

Both data sets are masked and classified; then each waits, holding no worker, until somebody
who did not start the run approves this very copy for the bucket. Point the two environment
variables at your own folders to try it on your own data.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from airflow.sdk import dag, task_group

from airflow_approvals.operators.classify import ClassifyDataOperator
from airflow_approvals.operators.mask import MaskDataOperator
from airflow_approvals.operators.release import ReleaseDataOperator
from airflow_approvals.sensors.approval import ApprovalSensor

RAW = os.environ.get("AIRFLOW_APPROVALS_DEMO_DATA", str(Path(__file__).parent / "data"))
MASKED = os.environ.get("AIRFLOW_APPROVALS_DEMO_MASKED", str(Path.home() / "masked"))
# Every try masks into a folder of its own: a finished copy is never written over.
TRY = "{{ run_id }}/{{ ti.try_number }}"


@task_group
def export(source: str, profile: str) -> None:
    """Mask, classify, ask, release: one data set."""
    mask = MaskDataOperator(
        task_id="mask",
        source=f"{RAW}/{source}",
        target=f"{MASKED}/{source}/{TRY}",
        profile=profile,
    )
    classify = ClassifyDataOperator(task_id="classify", source=mask.output)
    gate = ApprovalSensor(
        task_id="gate",
        action="export",
        sink="training-bucket",
        manifest=mask.output,
        evidence=classify.output,
        reason=f"Monthly refresh of the training set: {source}",
        timeout=timedelta(hours=8),
    )
    ReleaseDataOperator(
        task_id="release",
        manifest=mask.output,
        sink="training-bucket",
        gate=gate.output,
        retries=2,
        retry_delay=timedelta(seconds=30),
    )


@dag(schedule=None, catchup=False, tags=["approvals"], doc_md=__doc__)
def secure_llm_export() -> None:
    """Two data sets, two decisions."""
    export.override(group_id="tickets")("tickets.csv", "llm-training")
    export.override(group_id="logs")("application.log", "logs")


secure_llm_export()
