"""Give an account a privileged role for a while, once two people have agreed.

Only stock operators act: the Connection ``access_api`` opens to ``raise_role`` alone, and only
while the approval of this run holds. An agent may ask through ``POST /approvals/api/v1/requests``.
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Param, dag

from airflow_approvals.operators.classify import ClassifyDataOperator
from airflow_approvals.operators.mask import MaskDataOperator
from airflow_approvals.sensors.approval import ApprovalSensor

ROOM = (
    os.environ.get("AIRFLOW_APPROVALS_DEMO_MASKED", str(Path.home() / "masked")) + "/privileges/{{ run_id }}"
)
WORD = {"type": "string", "pattern": "^[a-z0-9-]{1,40}$"}
PARAMS = {"account": Param("svc-report", **WORD), "role": Param("db-admin", **WORD)}
ORDER = '{"account": "{{ params.account }}", "role": "{{ params.role }}", "hours": 4}'
POST = 'curl -fsS -X POST -H "Authorization: Bearer $TOKEN" -d "$ORDER" "$URL/jobs"'
URL = "http://{{ conn.access_api.host }}:{{ conn.access_api.port }}"


@dag(schedule=None, catchup=False, params=PARAMS, tags=["approvals"], doc_md=__doc__)
def privilege_escalation() -> None:
    """Write the order down, ask two people, carry it out."""
    write = BashOperator(
        task_id="write",
        bash_command=f"mkdir -p '{ROOM}' && printf '%s\\n' \"$ORDER\" > '{ROOM}/order.jsonl'",
        env={"ORDER": ORDER},
        append_env=True,
    )
    mask = MaskDataOperator(
        task_id="mask",
        source=f"{ROOM}/order.jsonl",
        target=f"{ROOM}/{{{{ ti.try_number }}}}",
        profile="llm-training",
    )
    classify = ClassifyDataOperator(task_id="classify", source=mask.output)
    gate = ApprovalSensor(
        task_id="gate",
        action="escalate",
        sink="access-api",
        manifest=mask.output,
        evidence=classify.output,
        reason="{{ params.role }} for {{ params.account }} for four hours",
    )
    env = {"TOKEN": "{{ conn.access_api.password }}", "URL": URL, "ORDER": ORDER}
    raise_role = BashOperator(task_id="raise_role", bash_command=POST, env=env, append_env=True)
    write >> mask
    gate >> raise_role


privilege_escalation()
