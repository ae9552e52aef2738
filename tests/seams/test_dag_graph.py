"""Which gates a task stands behind, on DAGs that went through Airflow's own serialization."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, task_group
from airflow.serialization.serialized_objects import DagSerialization

from airflow_approvals.core.gate import GATE_MARKER
from airflow_approvals.seams import dag_graph
from airflow_approvals.sensors.approval import ApprovalSensor

REFERENCE = {"uri": "file:///m.json", "digest": "sha256:" + "0" * 64}


class HouseSensor(ApprovalSensor):
    """A user's subclass under another name, with more template fields."""

    template_fields = (*ApprovalSensor.template_fields, "ticket")

    def __init__(self, *, ticket: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ticket = ticket


def gate(task_id: str = "gate", cls: type[ApprovalSensor] = ApprovalSensor) -> ApprovalSensor:
    return cls(task_id=task_id, action="export", sink="s", manifest=REFERENCE)


def serialized(dag: DAG) -> Any:
    return DagSerialization.from_dict(DagSerialization.to_dict(dag))


def test_gate_marker_survives_serialization_for_subclasses_and_mapped_gates() -> None:
    with DAG("d") as dag:
        gate()
        gate("house", HouseSensor)
        ApprovalSensor.partial(task_id="mapped", action="export", sink="s").expand(manifest=[REFERENCE])
        EmptyOperator(task_id="other")
    found = {name: dag_graph.is_gate(task) for name, task in serialized(dag).task_dict.items()}
    assert found == {"gate": True, "house": True, "mapped": True, "other": False}


def test_gate_marker_is_an_attribute_that_airflow_can_render() -> None:
    assert getattr(gate(), GATE_MARKER)


@pytest.mark.parametrize(
    "rule",
    ["all_success", "none_failed", "none_failed_min_one_success", "none_skipped", "one_success"],
)
def test_rules_that_need_success_put_a_task_behind_the_gate(rule: str) -> None:
    with DAG("d") as dag:
        gate() >> EmptyOperator(task_id="between") >> EmptyOperator(task_id="use", trigger_rule=rule)
    loaded = serialized(dag)
    assert dag_graph.gates_above(loaded, "use") == {"gate"}
    assert dag_graph.tasks_behind(loaded, "gate") == {"between", "use"}
    assert dag_graph.tasks_between(loaded, "gate", "use") == {"between"}


@pytest.mark.parametrize("rule", ["all_done", "one_failed", "all_failed", "one_done", "always"])
def test_clean_up_rules_stand_behind_no_gate(rule: str) -> None:
    with DAG("d") as dag:
        gate() >> EmptyOperator(task_id="use", trigger_rule=rule) >> EmptyOperator(task_id="after")
    loaded = serialized(dag)
    assert dag_graph.gates_above(loaded, "use") == frozenset()
    assert dag_graph.gates_above(loaded, "after") == frozenset()


def test_a_mapped_gate_counts_alone_only_inside_its_own_mapped_group() -> None:
    with DAG("d") as dag:

        @task_group
        def region(name: str) -> None:
            gate("inner") >> EmptyOperator(task_id="use")

        group = region.expand(name=["north", "south"])
        group >> EmptyOperator(task_id="after")
    loaded = serialized(dag)
    assert dag_graph.counts_alone(loaded, "region.inner", "region.use")
    assert not dag_graph.counts_alone(loaded, "region.inner", "after")
    assert dag_graph.dag_has_gate(loaded)
