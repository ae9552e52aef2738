"""The flow ring: which DAG files import, and what their authors are told."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag

from airflow_approvals.core.policy import Policy, Sink

HEAD = """
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, ObjectStoragePath
from airflow.sdk.bases.operator import BaseOperator
from airflow_approvals.operators.release import ReleaseDataOperator
from airflow_approvals.sensors.approval import ApprovalSensor

class Send(BaseOperator):
    template_fields = ("where", "call_kwargs")
    def __init__(self, conn_id=None, where=None, call_kwargs=None, deferrable=False, sink=None, **kwargs):
        super().__init__(**kwargs)
        self.conn_id, self.where, self.call_kwargs = conn_id, where, call_kwargs
        self.deferrable, self.sink = deferrable, sink

class Strange(BaseOperator):
    @property
    def conn_id(self):
        raise RuntimeError("not here")

def gate(task_id="gate"):
    return ApprovalSensor(task_id=task_id, action="export", sink="sink-a", manifest={})

with DAG("d", schedule=None):
"""


@pytest.fixture
def projection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What ``policy activate`` writes for one sink."""
    path = tmp_path / "projection.json"
    sinks = {"sink-a": Sink("sink-a", "sink_a", "file:///srv/sink")}
    policy = Policy("sha256:0", "", False, sinks, {}, None, {}, ())
    path.write_text(json.dumps(policy.projection()))
    monkeypatch.setenv("AIRFLOW__APPROVALS__PROJECTION_FILE", str(path))
    monkeypatch.setenv("AIRFLOW__APPROVALS__PROTECTED_CONNECTIONS", "")
    return path


def load(tmp_path: Path, body: str) -> str | None:
    """Load a DAG file as parsers do; return its import error."""
    folder = tmp_path / "dags"
    folder.mkdir(exist_ok=True)
    (folder / "dag_file.py").write_text(HEAD + textwrap.indent(textwrap.dedent(body), "    "))
    bag = DagBag(str(folder))
    errors = list(bag.import_errors.values())
    assert bool(errors) is (bag.dags == {})
    return errors[0] if errors else None


SEEN = {
    "attribute": "Send(task_id='send', conn_id='sink_a')",
    "another spelling": "Send(task_id='send', conn_id='SINK_A')",
    "key": "Send(task_id='send', call_kwargs={'a': [{'http_conn_id': 'sink_a'}]})",
    "uri": "Send(task_id='send', where='s3://sink_a@bucket/x')",
    "uri in a list": "Send(task_id='send', call_kwargs={'a': ['x', 's3://sink_a@bucket/x']})",
    "object": "Send(task_id='send', where=ObjectStoragePath('file://sink_a@/srv/x'))",
    "jinja": "Send(task_id='send', where='{{ conn.sink_a.password }}')",
    "jinja key": "Send(task_id='send', where=\"{{ conn['sink_a'].host }}\")",
    "jinja get": "Send(task_id='send', where=\"{{ conn.get('sink_a') }}\")",
    "sink": "Send(task_id='send', sink='sink-a')",
    "op_kwargs": "PythonOperator(task_id='send', python_callable=print, op_kwargs={'conn_id': 'sink_a'})",
    "mapped, partial": "Send.partial(task_id='send', conn_id='sink_a').expand(where=['x', 'y'])",
    "mapped, expanded": "Send.partial(task_id='send').expand(conn_id=['other', 'sink_a'])",
    "mapped, kwargs": "Send.partial(task_id='send').expand_kwargs([{'conn_id': 'sink_a'}])",
    "release": "ReleaseDataOperator(task_id='send', manifest={}, sink='sink-a', gate={})",
}


@pytest.mark.parametrize("use", SEEN.values(), ids=SEEN.keys())
def test_a_protected_connection_without_a_gate_upstream_is_an_import_error(
    projection: Path, tmp_path: Path, use: str
) -> None:
    error = load(tmp_path, use)
    assert error is not None
    for part in ("Task send", "DAG d", "sink_a", "ApprovalSensor", "upstream"):
        assert part in error
    assert load(tmp_path, f"gate() >> EmptyOperator(task_id='between') >> {use}") is None


@pytest.mark.parametrize(
    "body",
    [
        "{use} >> gate()",
        "[gate(), {use}]",
        "gate() >> EmptyOperator(task_id='always', trigger_rule='all_done') >> {use}",
    ],
    ids=["downstream", "beside", "through a rule that needs no success"],
)
def test_a_gate_that_is_not_in_the_way_does_not_count(projection: Path, tmp_path: Path, body: str) -> None:
    error = load(tmp_path, body.format(use=SEEN["attribute"]))
    assert error is not None
    assert "stands behind no approval gate" in error


@pytest.mark.parametrize(
    "use",
    [
        "Send(task_id='send', conn_id='sink_a', deferrable=True)",
        "Send.partial(task_id='send', deferrable=True).expand(conn_id=['sink_a'])",
    ],
)
def test_a_deferrable_use_is_an_import_error_even_behind_a_gate(
    projection: Path, tmp_path: Path, use: str
) -> None:
    error = load(tmp_path, f"gate() >> {use}")
    assert error is not None
    for part in ("Task send", "sink_a", "deferrable=False"):
        assert part in error


@pytest.mark.parametrize(
    "use",
    [
        "Send(task_id='send', conn_id='elsewhere', where='sink_a', call_kwargs={'note': 'sink_a'})",
        "Send(task_id='send', where='https://sink_a.invalid/x', deferrable=True)",
        "Strange(task_id='send')",
    ],
)
def test_what_names_no_protected_connection_imports(projection: Path, tmp_path: Path, use: str) -> None:
    assert load(tmp_path, use) is None


@pytest.mark.parametrize("broken", ["gone", "not json", "{}", '{"version": 2, "sinks": {}}', "not set"])
def test_without_the_projection_gated_dags_do_not_import_and_others_do(
    projection: Path, tmp_path: Path, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if broken == "not set":
        monkeypatch.delenv("AIRFLOW__APPROVALS__PROJECTION_FILE")
    elif broken == "gone":
        projection.unlink()
    else:
        projection.write_text(broken)
    error = load(tmp_path, "gate()")
    assert error is not None
    assert "airflow approvals policy activate" in error
    assert load(tmp_path, "EmptyOperator(task_id='e')") is None


def test_what_the_configuration_protects_counts_without_a_policy(
    projection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    projection.unlink()
    monkeypatch.setenv("AIRFLOW__APPROVALS__PROTECTED_CONNECTIONS", "sink_b")
    error = load(tmp_path, "Send(task_id='send', conn_id='sink_b')")
    assert error is not None
    assert "sink_b" in error


def test_a_fault_of_the_lint_is_an_import_error(
    projection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_approvals.enforcement import flow_ring

    monkeypatch.setattr(flow_ring.dag_graph, "gates_above", lambda dag, task_id: 1 / 0)
    error = load(tmp_path, SEEN["attribute"])
    assert error is not None
    assert "ZeroDivisionError" in error
