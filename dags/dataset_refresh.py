"""Refresh the training set every night: a run that nobody started, so two people decide.

Where the policy allows a standing approval, they may let theirs carry over to the next nights,
for as long as only the content changes.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

from airflow.sdk import dag

from airflow_approvals.operators.classify import ClassifyDataOperator
from airflow_approvals.operators.mask import MaskDataOperator
from airflow_approvals.operators.release import ReleaseDataOperator
from airflow_approvals.sensors.approval import ApprovalSensor

RAW = os.environ.get("AIRFLOW_APPROVALS_DEMO_DATA", str(Path(__file__).parent / "data"))
MASKED = os.environ.get("AIRFLOW_APPROVALS_DEMO_MASKED", str(Path.home() / "masked"))


@dag(
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    is_paused_upon_creation=True,
    tags=["approvals"],
    doc_md=__doc__,
)
def dataset_refresh() -> None:
    """Mask, classify, ask, release."""
    mask = MaskDataOperator(
        task_id="mask",
        source=f"{RAW}/tickets.csv",
        target=f"{MASKED}/refresh/{{{{ run_id }}}}/{{{{ ti.try_number }}}}",
        profile="llm-training",
    )
    classify = ClassifyDataOperator(task_id="classify", source=mask.output)
    gate = ApprovalSensor(
        task_id="gate",
        action="refresh",
        sink="training-bucket",
        manifest=mask.output,
        evidence=classify.output,
        reason="Nightly refresh of the training set",
        timeout=timedelta(hours=20),
    )
    ReleaseDataOperator(task_id="release", manifest=mask.output, sink="training-bucket", gate=gate.output)


dataset_refresh()
