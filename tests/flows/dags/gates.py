"""Small gated DAGs for the flow tests: no Presidio, stock operators around our gate."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, task
from airflow.sdk.bases.hook import BaseHook

from airflow_approvals.core.digest import canonical_bytes, sha256_digest
from airflow_approvals.core.manifest import Manifest, ObjectEntry
from airflow_approvals.operators.classify import ClassifyDataOperator
from airflow_approvals.operators.mask import MaskDataOperator
from airflow_approvals.operators.release import ReleaseDataOperator
from airflow_approvals.sensors.approval import ApprovalSensor

ROOM = Path(os.environ["APPROVALS_FLOW_ROOM"])
ACTION = "{{ dag_run.conf.get('action', 'export') }}"


def write_copy(run_id: str, name: str = "copy") -> dict[str, str]:
    """Write one object and its manifest; return the reference, as MaskDataOperator would."""
    folder = ROOM / run_id.replace(":", "_").replace("+", "_") / name
    folder.mkdir(parents=True, exist_ok=True)
    content = f"masked line of {name}\n".encode()
    (folder / "lines.txt").write_bytes(content)
    entry = ObjectEntry("lines.txt", sha256_digest(content), len(content), 1, "text")
    manifest = Manifest((entry,), "test", sha256_digest(b"profile"), "none", "0", ())
    path = folder / "_manifest.json"
    path.write_bytes(canonical_bytes(manifest.to_document()))
    return {"uri": path.as_uri(), "digest": manifest.digest}


@task
def prepare(run: str, name: str = "copy") -> dict[str, str]:
    return write_copy(run, name)


def open_sink(run_id: str, task_id: str, map_index: int = -1, times: int = 1) -> None:
    """What any author could write: fetch the sink's connection, then leave a mark."""
    for _ in range(times):
        connection = BaseHook.get_connection("sink_a")
    mark = ROOM / "used" / f"{run_id}.{task_id}.{map_index}".replace(":", "_").replace("+", "_")
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(mark.read_text() + connection.host if mark.exists() else str(connection.host))


def open_then_fail_once(run_id: str) -> None:
    open_sink(run_id, "use")
    flag = ROOM / "failed" / run_id.replace(":", "_").replace("+", "_")
    if not flag.exists():
        flag.parent.mkdir(parents=True, exist_ok=True)
        flag.write_text("once")
        raise RuntimeError("the sink was not reachable")


def spy(run_id: str) -> None:
    """What an approved task's author would try, to get at the custodian's credential."""
    try:
        found = repr(BaseHook.get_connection("sink_c").password)
    except Exception as error:
        found = f"refused: {type(error).__name__}"
    report = ROOM / "spied" / run_id.replace(":", "_").replace("+", "_")
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text("\n".join([found, *(f"{name}={value}" for name, value in os.environ.items())]))


OPEN = {"run_id": "{{ run_id }}", "task_id": "{{ task.task_id }}", "map_index": "{{ ti.map_index }}"}


class SlowSensor(ApprovalSensor):
    """A subclass, whose resumption takes its time: longer than the scheduler needs to notice."""

    def execute_complete(self, context, event):
        time.sleep(3)
        return super().execute_complete(context, event)


class TwoAsksSensor(ApprovalSensor):
    """Sends a second, different ask with its own token before it parks."""

    def execute(self, context):
        from airflow.sdk.exceptions import TaskAwaitingInput

        try:
            super().execute(context)
        except TaskAwaitingInput:
            self.reason = "another reason"
            super().execute(context)


def gate(task_id: str = "gate", cls: type[ApprovalSensor] = ApprovalSensor, **kwargs) -> ApprovalSensor:
    defaults = {"action": ACTION, "sink": "sink-a", "reason": "a flow test", "timeout": timedelta(hours=1)}
    return cls(task_id=task_id, **{**defaults, **kwargs})


with DAG("plain", schedule=None, catchup=False):
    asked = gate(manifest=prepare("{{ run_id }}"), retries=1, retry_delay=timedelta(seconds=2))
    use = PythonOperator(task_id="use", python_callable=open_sink, op_kwargs=OPEN)
    follow = PythonOperator(task_id="follow", python_callable=print)
    clean_up = PythonOperator(task_id="clean_up", python_callable=print, trigger_rule="all_done")
    asked >> EmptyOperator(task_id="between") >> use >> follow
    asked >> clean_up

with DAG("slow", schedule=None, catchup=False):
    asked = gate(cls=SlowSensor, manifest=prepare("{{ run_id }}"))
    asked >> PythonOperator(task_id="use", python_callable=open_sink, op_kwargs=OPEN)

with DAG("soft", schedule=None, catchup=False):
    asked = gate(manifest=prepare("{{ run_id }}"), soft_fail=True)
    asked >> PythonOperator(
        task_id="use", python_callable=open_sink, op_kwargs=OPEN, trigger_rule="none_failed"
    )

with DAG("mapped_use", schedule=None, catchup=False):
    asked = gate(manifest=prepare("{{ run_id }}"))
    asked >> PythonOperator.partial(task_id="use", python_callable=open_sink).expand(
        op_kwargs=[{**OPEN, "times": 1}, {**OPEN, "times": 1}]
    )

with DAG("mapped_gate", schedule=None, catchup=False):
    copies = prepare.partial(run="{{ run_id }}").expand(name=["north", "south"])
    asked = ApprovalSensor.partial(
        task_id="gate", action="export", sink="sink-a", reason="a flow test"
    ).expand(manifest=copies)
    asked >> PythonOperator(task_id="use", python_callable=open_sink, op_kwargs=OPEN)

with DAG("two_gates", schedule=None, catchup=False):
    copy = prepare("{{ run_id }}")
    first = gate(manifest=copy)
    second = gate("second", manifest=copy)
    first >> second >> PythonOperator(task_id="use", python_callable=open_sink, op_kwargs=OPEN)

with DAG("fails_once", schedule=None, catchup=False):
    asked = gate(manifest=prepare("{{ run_id }}"))
    use = PythonOperator(
        task_id="use", python_callable=open_then_fail_once, op_kwargs={"run_id": "{{ run_id }}"}
    )
    asked >> use >> PythonOperator(task_id="follow", python_callable=print)

with DAG("two_asks", schedule=None, catchup=False):
    asked = gate(cls=TwoAsksSensor, manifest=prepare("{{ run_id }}"))
    asked >> PythonOperator(task_id="use", python_callable=open_sink, op_kwargs=OPEN)

with DAG("no_gate", schedule=None, catchup=False):
    PythonOperator(task_id="use", python_callable=open_sink, op_kwargs=OPEN)

with DAG("released", schedule=None, catchup=False):
    copy = prepare("{{ run_id }}")
    asked = gate(manifest=copy)
    ReleaseDataOperator(task_id="release", manifest=copy, sink="sink-a", gate=asked.output)

with DAG("custody", schedule=None, catchup=False):
    copy = prepare("{{ run_id }}")
    asked = gate(manifest=copy, sink="sink-c")
    release = ReleaseDataOperator(task_id="release", manifest=copy, sink="sink-c", gate=asked.output)
    asked >> PythonOperator(task_id="spy", python_callable=spy, op_kwargs={"run_id": "{{ run_id }}"})

with DAG("canaries", schedule=None, catchup=False):
    mask = MaskDataOperator(
        task_id="mask",
        source=str(ROOM / "{{ dag_run.conf['source'] }}"),
        target=str(ROOM / "masked" / "{{ dag_run.conf['source'] }}"),
        profile="llm-training",
    )
    classify = ClassifyDataOperator(task_id="classify", source=mask.output)
    asked = gate(manifest=mask.output, evidence=classify.output)
    ReleaseDataOperator(task_id="release", manifest=mask.output, sink="sink-a", gate=asked.output)
