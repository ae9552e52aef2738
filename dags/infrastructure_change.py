"""Change how many machines a service has, once two people have agreed to the plan.

Only stock operators act: the Connection ``fleet_api`` opens to ``apply`` alone, and only
while the approval of this run holds.
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Param, dag

from airflow_approvals.operators.classify import ClassifyDataOperator
from airflow_approvals.operators.mask import MaskDataOperator
from airflow_approvals.sensors.approval import ApprovalSensor

ROOM = os.environ.get("AIRFLOW_APPROVALS_DEMO_MASKED", str(Path.home() / "masked")) + "/changes/{{ run_id }}"
WORD = {"type": "string", "pattern": "^[a-z0-9-]{1,40}$"}
PARAMS = {"service": Param("search", **WORD), "machines": Param(4, type="integer", minimum=1, maximum=50)}
PLAN = '{"service": "{{ params.service }}", "machines": {{ params.machines }}}'
POST = 'curl -fsS -X POST -H "Authorization: Bearer $TOKEN" -d "$PLAN" "$URL/jobs"'
URL = "http://{{ conn.fleet_api.host }}:{{ conn.fleet_api.port }}"


@dag(schedule=None, catchup=False, params=PARAMS, tags=["approvals"], doc_md=__doc__)
def infrastructure_change() -> None:
    """Write the plan down, ask two people, carry it out."""
    write = BashOperator(
        task_id="write",
        bash_command=f"mkdir -p '{ROOM}' && printf '%s\\n' \"$PLAN\" > '{ROOM}/plan.jsonl'",
        env={"PLAN": PLAN},
        append_env=True,
    )
    mask = MaskDataOperator(
        task_id="mask",
        source=f"{ROOM}/plan.jsonl",
        target=f"{ROOM}/{{{{ ti.try_number }}}}",
        profile="llm-training",
    )
    classify = ClassifyDataOperator(task_id="classify", source=mask.output)
    gate = ApprovalSensor(
        task_id="gate",
        action="change",
        sink="fleet-api",
        manifest=mask.output,
        evidence=classify.output,
        reason="{{ params.service }} runs on {{ params.machines }} machines from now on",
    )
    env = {"TOKEN": "{{ conn.fleet_api.password }}", "URL": URL, "PLAN": PLAN}
    apply = BashOperator(task_id="apply", bash_command=POST, env=env, append_env=True)
    write >> mask
    gate >> apply


infrastructure_change()
