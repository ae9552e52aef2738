"""The code that gates and releases run by: whether a change of it would be seen."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.orm import Session

from airflow_approvals.doctor.findings import Finding, Severity, Surroundings
from airflow_approvals.seams import airflow_seams_code, dag_graph
from airflow_approvals.store.session import run_read

#: So many DAGs are named; more are counted.
_MOST_NAMED = 10


def bundles_versioned(around: Surroundings) -> Iterator[Finding]:
    """Of a bundle without versions, only the DAG file itself is compared, and only once it was parsed."""
    gated = [] if around.worker else run_read(_gated_without_versions)
    if gated:
        more = f" and {len(gated) - _MOST_NAMED} more" if len(gated) > _MOST_NAMED else ""
        yield Finding(
            "bundle_unversioned",
            Severity.WARNING,
            f"Gated DAGs come from a bundle without versions: {', '.join(gated[:_MOST_NAMED])}{more}.",
            "Modules they import can change during the wait unseen, and no approval stands for later runs.",
            "Serve them from a bundle that keeps versions, such as GitDagBundle.",
        )


def _gated_without_versions(session: Session) -> list[str]:
    return [
        dag_id for dag_id in airflow_seams_code.dags_without_versions(session) if _is_gated(session, dag_id)
    ]


def _is_gated(session: Session, dag_id: str) -> bool:
    dag = dag_graph.latest_dag(session, dag_id)
    return dag is not None and dag_graph.has_gate(dag)


CHECKS = (bundles_versioned,)
