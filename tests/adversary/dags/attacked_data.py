"""DAGs whose tasks lie about their data, or about what they are; the sink of most is the custodian's."""

from __future__ import annotations

import json
import os
import urllib.request
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, task
from airflow.sdk.bases.hook import BaseHook

from airflow_approvals.core.classification import Label
from airflow_approvals.core.digest import canonical_bytes, sha256_digest
from airflow_approvals.core.evidence import ColumnEvidence, Evidence
from airflow_approvals.core.manifest import Manifest, ObjectEntry
from airflow_approvals.operators.release import ReleaseDataOperator
from airflow_approvals.sensors.approval import ApprovalSensor

ROOM = Path(os.environ["APPROVALS_FLOW_ROOM"])
MANIFEST = json.loads((ROOM / "reference.json").read_text())
ASKED = {"action": "export", "sink": "sink-a", "manifest": MANIFEST, "timeout": timedelta(hours=1)}
GIVEN = {"run_id": "{{ run_id }}", "task_id": "{{ task.task_id }}"}


def post(connection, run_id: str, task_id: str, body: bytes = b"") -> None:
    url = f"http://{connection.host}:{connection.port}/{quote(run_id, safe='')}/{quote(task_id, safe='')}"
    headers = {"X-Password": connection.password or ""}
    call = urllib.request.Request(url, method="POST", headers=headers, data=body)
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(call, timeout=10).close()


def send(run_id: str, task_id: str) -> None:
    post(BaseHook.get_connection("sink_a"), run_id, task_id)


def send_other_data_and_keep_the_key(run_id: str, task_id: str) -> None:
    """What nobody approved goes out, and the password stays in a file."""
    connection = BaseHook.get_connection("sink_a")
    post(connection, run_id, task_id, b"lines that nobody has approved\n")
    (ROOM / "kept-password").write_text(connection.password)


def send_without_asking(run_id: str, task_id: str) -> None:
    """A sink that is reachable without a protected Connection: its password is known anyway."""
    post(BaseHook.get_connection("sink_open"), run_id, task_id)


@task
def stage(run: str, lie: str) -> dict[str, dict[str, str]]:
    """Stage a copy with personal data, and report what ``lie`` says instead of what is so."""
    folder = ROOM / "staged" / run.replace(":", "_").replace("+", "_")
    folder.mkdir(parents=True)
    content = b"Reach Jane Roe at jane.roe@example.org or on +1 212 555 0147.\n"
    (folder / "lines.txt").write_bytes(content)
    reported = b"A line that tells nothing.\n" if lie == "manifest" else content
    entry = ObjectEntry("lines.txt", sha256_digest(reported), len(reported), 1, "text")
    manifest = Manifest((entry,), "test", sha256_digest(b"profile"), "none", "0", ())
    column = ColumnEvidence("lines.txt", "", Label.PUBLIC, 1, 1)
    evidence = Evidence(manifest.digest, Label.PUBLIC, (column,), "made up", "none")
    for name, document in (("_manifest.json", manifest), ("_evidence.json", evidence)):
        (folder / name).write_bytes(canonical_bytes(document.to_document()))
    return {
        "manifest": {"uri": (folder / "_manifest.json").as_uri(), "digest": manifest.digest},
        "evidence": {"uri": (folder / "_evidence.json").as_uri(), "digest": evidence.digest},
    }


class Doorman(ApprovalSensor):
    """A gate by another name, which would rather open by itself."""

    def execute_complete(self, context, event):
        return {}


with DAG("staged", schedule=None, catchup=False):
    copy = stage("{{ run_id }}", "{{ dag_run.conf['lie'] }}")
    gate = ApprovalSensor(
        task_id="gate",
        action="{{ dag_run.conf['action'] }}",
        sink="sink-c",
        manifest=copy["manifest"],
        evidence=copy["evidence"],
        timeout=timedelta(hours=1),
    )
    ReleaseDataOperator(task_id="use", manifest=copy["manifest"], sink="sink-c", gate=gate.output)

with DAG("renamed", schedule=None, catchup=False):
    Doorman(task_id="gate", **ASKED) >> PythonOperator(task_id="use", python_callable=send, op_kwargs=GIVEN)

with DAG("mapped_gates", schedule=None, catchup=False):
    gates = Doorman.partial(task_id="gate", **{k: v for k, v in ASKED.items() if k != "action"})
    gates.expand(action=["export", "export"]) >> PythonOperator(
        task_id="use", python_callable=send, op_kwargs=GIVEN
    )

with DAG("soft", schedule=None, catchup=False):
    ApprovalSensor(task_id="gate", soft_fail=True, **ASKED) >> PythonOperator(
        task_id="use", python_callable=send, op_kwargs=GIVEN, trigger_rule="none_failed"
    )

with DAG("cleaned", schedule=None, catchup=False):
    ApprovalSensor(task_id="gate", **ASKED) >> PythonOperator(
        task_id="use", python_callable=send, op_kwargs=GIVEN
    )

with DAG("keeper", schedule=None, catchup=False):
    ApprovalSensor(task_id="gate", **ASKED) >> PythonOperator(
        task_id="use", python_callable=send_other_data_and_keep_the_key, op_kwargs=GIVEN
    )

with DAG("unguarded", schedule=None, catchup=False):
    PythonOperator(task_id="use", python_callable=send_without_asking, op_kwargs=GIVEN)
