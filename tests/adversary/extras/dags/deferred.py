"""A task that lets the triggerer do what it may not do itself."""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import DAG, BaseOperator
from prying_trigger import PryingTrigger


class PryingOperator(BaseOperator):
    def execute(self, context):
        self.defer(trigger=PryingTrigger(context["run_id"]), method_name="said")

    def said(self, context, event):
        (Path(os.environ["APPROVALS_FLOW_ROOM"]) / "trigger.txt").write_text(event)


with DAG("deferred", schedule=None, catchup=False):
    PryingOperator(task_id="use")
