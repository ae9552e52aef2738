"""The flow ring: a DAG that visibly reaches a protected sink without a gate does not import.

A lint, for honest mistakes: it sees what a definition shows and knows ids only. What a task may
really do is for the start ring and the credential ring to say, on the server.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow.exceptions import AirflowClusterPolicyViolation

from airflow_approvals.config.projection import Projection, read_projection
from airflow_approvals.config.settings import Settings
from airflow_approvals.core.spelling import connection_spelling
from airflow_approvals.enforcement.connection_uses import connections_named_by, is_deferrable
from airflow_approvals.errors import ConfigurationError
from airflow_approvals.seams import dag_graph

log = logging.getLogger(__name__)


def check(dag: Any) -> None:
    """Refuse a DAG that must not import, naming the task, the connection and the way out.

    Parsers and workers call this for every DAG they load; it reads one small file.

    :param dag: a DAG as its file defines it.
    :raises AirflowClusterPolicyViolation: which Airflow shows as the DAG's import error.
    """
    try:
        problem = _problem_of(dag)
    except Exception as error:
        log.exception("approvals: could not judge DAG %s, so it is refused", dag.dag_id)
        problem = f"The approvals lint could not judge DAG {dag.dag_id}: {type(error).__name__}."
    if problem:
        raise AirflowClusterPolicyViolation(problem)


def _problem_of(dag: Any) -> str | None:
    settings = Settings.load()
    try:
        projection = read_projection(settings.projection_file)
    except ConfigurationError as error:
        if dag_graph.dag_has_gate(dag):
            return f"DAG {dag.dag_id} has an approval gate, and what the policy protects is unknown: {error}"
        projection = Projection({})
    protected = {
        connection_spelling(conn_id): conn_id
        for conn_id in (*settings.protected_connections, *projection.sinks.values())
    }
    return _first_problem(dag, projection.sinks, protected) if protected else None


def _first_problem(dag: Any, sinks: Mapping[str, str], protected: Mapping[str, str]) -> str | None:
    for task_id, task in sorted(dag.task_dict.items()):
        if dag_graph.is_gate(task):
            continue
        for named in connections_named_by(task, sinks):
            conn_id = protected.get(connection_spelling(named))
            if conn_id is not None and (problem := _problem(dag, task, conn_id)):
                return f"Task {task_id} of DAG {dag.dag_id} uses protected connection {conn_id} {problem}"
    return None


def _problem(dag: Any, task: Any, conn_id: str) -> str | None:
    if is_deferrable(task):
        return (
            "in a deferrable operator; a triggerer never gets that connection. "
            "Set deferrable=False on this task."
        )
    if not dag_graph.gates_above(dag, task.task_id):
        return (
            "and stands behind no approval gate. Put an ApprovalSensor for its sink upstream, with "
            "trigger rules that need the gate's success, or use another connection."
        )
    return None
