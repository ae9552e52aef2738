"""Which gates a task stands behind, read from the serialized DAG.

A task stands behind a gate when, going up only through trigger rules that need success, the
gate is reached. The walk is transitive: an ``EmptyOperator`` in between never asks to start.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_approvals.core.gate import GATE_MARKER
from airflow_approvals.seams import airflow_seams_runs

if TYPE_CHECKING:
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy.orm import Session

#: With these, at least one upstream success is needed, and without the gate's the data would
#: flow on somebody's say-so. The others (``all_done``, ``one_failed``, …) are for clean-up.
NEEDS_SUCCESS = frozenset(
    {
        "all_success",
        "none_failed",
        "none_failed_min_one_success",
        "none_skipped",
        "one_success",
        "all_done_min_one_success",
    }
)


def load_dag(session: Session, ti: TaskInstance) -> Any | None:
    """Return the serialized DAG the task instance runs by, from a cache that checks hashes."""
    bag = _dag_bag()
    dag = bag.get_dag(ti.dag_version_id, session=session) if ti.dag_version_id else None
    return dag or bag.get_dag_for_run(ti.dag_run, session=session)


def latest_dag(session: Session, dag_id: str) -> Any | None:
    """Return the newest serialized DAG of that id."""
    return _dag_bag().get_latest_version_of_dag(dag_id, session=session)


def dags_of_run(session: Session, dag_id: str, run_id: str) -> Iterator[Any]:
    """Yield the newest serialized DAG, and then the versions that the run's tasks run by."""
    newest = latest_dag(session, dag_id)
    if newest is not None:
        yield newest
    for version in airflow_seams_runs.versions_of_run(session, dag_id, run_id):
        dag = _dag_bag().get_dag(version, session=session)
        if dag is not None:
            yield dag


def is_gate(task: Any) -> bool:
    """Whether a serialized task carries the gate's marker."""
    return GATE_MARKER in (task.template_fields or ())


def has_gate(dag: Any) -> bool:
    """Whether any task of a serialized DAG is a gate."""
    return any(is_gate(task) for task in dag.task_dict.values())


def gates_above(dag: Any, task_id: str) -> frozenset[str]:
    """Return the ids of the gates a task stands behind, nearest and farther ones."""
    found: set[str] = set()
    for parent_id in _ancestors(dag, task_id):
        if is_gate(dag.task_dict[parent_id]):
            found.add(parent_id)
    return frozenset(found)


def tasks_behind(dag: Any, gate_id: str) -> frozenset[str]:
    """Return the ids of all tasks that stand behind a gate: its consumers."""
    return frozenset(task_id for task_id in dag.task_dict if gate_id in _ancestors(dag, task_id))


def tasks_between(dag: Any, gate_id: str, task_id: str) -> frozenset[str]:
    """Return the ids of the tasks on a way from the gate to the task, without either."""
    behind = tasks_behind(dag, gate_id)
    return frozenset(_ancestors(dag, task_id)) & behind


def dag_has_gate(dag: Any) -> bool:
    """Whether any task of the DAG is a gate."""
    return any(is_gate(task) for task in dag.task_dict.values())


def counts_alone(dag: Any, gate_id: str, task_id: str) -> bool:
    """Whether a mapped gate counts by the task's own map index.

    It does when both sit in the same mapped task group; otherwise every index of the gate is
    needed.
    """
    gate_group = dag.task_dict[gate_id].get_closest_mapped_task_group()
    task_group = dag.task_dict[task_id].get_closest_mapped_task_group()
    return gate_group is not None and gate_group is task_group


def _ancestors(dag: Any, task_id: str) -> set[str]:
    seen: set[str] = set()
    waiting = [task_id]
    while waiting:
        for parent_id in _needed_parents(dag, waiting.pop()):
            if parent_id not in seen:
                seen.add(parent_id)
                waiting.append(parent_id)
    return seen


def _needed_parents(dag: Any, task_id: str) -> Iterator[str]:
    task = dag.task_dict[task_id]
    if str(getattr(task.trigger_rule, "value", task.trigger_rule)) in NEEDS_SUCCESS:
        yield from task.upstream_task_ids


_bag: Any = None


def _dag_bag() -> Any:
    global _bag  # noqa: PLW0603 - one cache for the life of the process, as Airflow's app keeps one
    if _bag is None:
        from airflow.api_fastapi.common.dagbag import create_dag_bag

        _bag = create_dag_bag()
    return _bag
