"""What a test can ask about a run once it is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control.registration import newest_request
from airflow_approvals.core.models import NO_MAP_INDEX, Place, Refusal
from airflow_approvals.store import ledger
from airflow_approvals.store.session import run_read

_MOST_ENTRIES = 10_000


def newest_run(dag_id: str) -> str:
    """Return the id of the run that began last; ``dag.test()`` returns a row without its session."""
    found = select(DagRun.run_id).where(DagRun.dag_id == dag_id).order_by(DagRun.id.desc()).limit(1)
    return run_read(lambda session: session.scalars(found).one())


@dataclass(frozen=True)
class GatedRun:
    """A finished run of a gated DAG."""

    dag_id: str
    run_id: str
    refused: Mapping[Place, Sequence[Refusal]]

    def state(self, task_id: str, map_index: int = NO_MAP_INDEX) -> str | None:
        """Return the state of a task as Airflow has it, ``None`` for one that never had any."""
        place = self._place(task_id, map_index)
        found = select(TaskInstance.state).where(
            TaskInstance.dag_id == place.dag_id,
            TaskInstance.run_id == place.run_id,
            TaskInstance.task_id == place.task_id,
            TaskInstance.map_index == place.map_index,
        )
        state = run_read(lambda session: session.scalar(found))
        return str(state) if state is not None else None

    def outcome(self, gate: str, map_index: int = NO_MAP_INDEX) -> str | None:
        """Return what became of a gate's request: ``approved``, ``rejected``, ``expired``,
        ``forbidden``, …; ``None`` when the gate never asked.
        """
        return self._request(gate, map_index)[0]

    def because(self, gate: str, map_index: int = NO_MAP_INDEX) -> str | None:
        """Return the sentence that says why."""
        return self._request(gate, map_index)[1]

    def refusals(self, gate: str, map_index: int = NO_MAP_INDEX) -> list[str]:
        """Return the codes of the refused votes, in the order of the ballots."""
        return [refusal.code for refusal in self.refused.get(self._place(gate, map_index), ())]

    def ledger(self) -> list[str]:
        """Return the kinds of the run's ledger entries, oldest first."""
        entries = run_read(lambda session: ledger.entries(session, limit=_MOST_ENTRIES))
        return [entry["kind"] for entry in entries if entry.get("run_id") == self.run_id]

    def _request(self, gate: str, map_index: int) -> tuple[str | None, str | None]:
        place = self._place(gate, map_index)

        def read(session: Session) -> tuple[str | None, str | None]:
            request = newest_request(session, place)
            return (request.state, request.decided_because) if request is not None else (None, None)

        return run_read(read)

    def _place(self, task_id: str, map_index: int) -> Place:
        return Place(self.dag_id, self.run_id, task_id, map_index)
