"""DAGs under attack: the release is a call to an HTTP endpoint, made with the sink's Connection.

Nothing here names the Connection in a way that the flow ring's lint could see.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator, ShortCircuitOperator
from airflow.sdk import DAG, TaskGroup
from airflow.sdk.bases.hook import BaseHook

from airflow_approvals.sensors.approval import ApprovalSensor

ROOM = Path(os.environ["APPROVALS_FLOW_ROOM"])
MANIFEST = json.loads((ROOM / "reference.json").read_text())
CONF = "{{ dag_run.conf.get('%s', '%s') }}"


def send(run_id: str, task_id: str, conn_id: str = "sink_a") -> None:
    """Open the sink's Connection and send, as any author could."""
    connection = BaseHook.get_connection(conn_id)
    url = f"http://{connection.host}:{connection.port}/{quote(run_id, safe='')}/{quote(task_id, safe='')}"
    call = urllib.request.Request(url, method="POST", headers={"X-Password": connection.password or ""})
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(call, timeout=10).close()


def send_then_fail(run_id: str, task_id: str, conn_id: str = "sink_a") -> None:
    send(run_id, task_id, conn_id)
    raise RuntimeError("failed after it had sent")


def hold(name: str) -> None:
    """Stay running until the test says go, so that its token can be used meanwhile."""
    (ROOM / f"{name}.held").touch()
    while not (ROOM / f"{name}.go").exists():
        time.sleep(0.3)


def gate(task_id: str = "gate", **kwargs) -> ApprovalSensor:
    given = {
        "action": CONF % ("action", "export"),
        "sink": CONF % ("sink", "sink-a"),
        "manifest": MANIFEST,
        "reason": "a release under attack",
        "timeout": timedelta(hours=1),
    }
    return ApprovalSensor(task_id=task_id, **{**given, **kwargs})


def release(task_id: str = "use", call=send, **kwargs) -> PythonOperator:
    given = {
        "run_id": "{{ run_id }}",
        "task_id": "{{ task.task_id }}",
        "conn_id": CONF % ("connection", "sink_a"),
    }
    return PythonOperator(task_id=task_id, python_callable=call, op_kwargs=given, **kwargs)


def held(task_id: str = "hold", **kwargs) -> PythonOperator:
    name = {"name": "{{ run_id | replace(':', '_') | replace('+', '_') }}"}
    return PythonOperator(task_id=task_id, python_callable=hold, op_kwargs=name, **kwargs)


with DAG("plain", schedule=None, catchup=False):
    gate() >> release()

with DAG("grouped", schedule=None, catchup=False):
    with TaskGroup("guard") as guard:
        gate()
    guard >> release()

with DAG("behind_empty", schedule=None, catchup=False):
    gate() >> EmptyOperator(task_id="between") >> release()

with DAG("lenient", schedule=None, catchup=False):
    shut = gate()
    shut >> release("whatever", trigger_rule="all_done")
    shut >> release("not_failed", trigger_rule="none_failed")
    shut >> release("one_done", trigger_rule="one_done")
    shut >> release("at_once", trigger_rule="always")

with DAG("no_gate", schedule=None, catchup=False):
    release()

with DAG("beside", schedule=None, catchup=False):
    gate()
    release()

with DAG("above", schedule=None, catchup=False):
    release() >> gate()

with DAG("two_users", schedule=None, catchup=False):
    shut = gate()
    shut >> release("first") >> release("second")

with DAG("mapped_use", schedule=None, catchup=False):
    given = {"run_id": "{{ run_id }}", "task_id": "{{ task.task_id }}"}
    gate() >> PythonOperator.partial(task_id="use", python_callable=send).expand(op_kwargs=[given, given])

with DAG("failing", schedule=None, catchup=False):
    gate() >> release(call=send_then_fail)

with DAG("short_circuit", schedule=None, catchup=False):
    stop = ShortCircuitOperator(
        task_id="stop", python_callable=lambda: False, ignore_downstream_trigger_rules=False
    )
    stop >> gate() >> release(trigger_rule="none_failed")

with DAG("waiting", schedule=None, catchup=False):
    gate() >> held() >> release()

with DAG("insider", schedule=None, catchup=False):
    held()

with DAG("unknown_data", schedule=None, catchup=False):
    gate(manifest={"uri": MANIFEST["uri"], "digest": "sha256:" + "0" * 64}) >> release()
