"""The voters: a thread that does what dispatcher and people do while ``dag.test()`` waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils.state import TaskInstanceState
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from airflow_approvals.control import decisions, registration, settlement
from airflow_approvals.core.models import Place, Refusal
from airflow_approvals.seams import airflow_seams
from airflow_approvals.store.session import run_read, run_transaction
from airflow_approvals.store.tables import IntakeRow, RequestRow
from airflow_approvals.testing.ballots import Ballot

_REST = 0.2
_SHORTLY = timedelta(seconds=1)


class Voters(threading.Thread):
    """Registers what the gates of one DAG ask, casts the ballots, and lets the rest expire.

    ``refusals`` are the refused ballots by gate; ``error`` is what stopped the thread.
    """

    def __init__(
        self, dag_id: str, requested_by: str, votes: Mapping[str, Sequence[Ballot]], timeout: float
    ) -> None:
        """:param timeout: seconds, after which gates that still wait are failed."""
        super().__init__(name="approvals-voters", daemon=True)
        self.refusals: dict[Place, list[Refusal]] = {}
        self.error: Exception | None = None
        self._dag_id, self._requested_by, self._votes = dag_id, requested_by, votes
        self._deadline = time.monotonic() + timeout
        self._done = threading.Event()
        self._seen = run_read(lambda session: session.scalar(select(func.max(IntakeRow.id)))) or 0

    def run(self) -> None:
        """Look after the gates until told to stop."""
        try:
            while not self._done.wait(_REST):
                self._look()
        except Exception as error:
            self.error = error
            run_transaction(self._fail_gates)

    def stop(self) -> None:
        """End the thread, and raise what stopped it early."""
        self._done.set()
        self.join()
        if self.error is not None:
            raise self.error

    def _look(self) -> None:
        if time.monotonic() > self._deadline:
            raise TimeoutError(
                f"A gate of {self._dag_id} was still waiting when the time of the test was up."
            )
        for intake_id, place in run_read(self._new_intakes):
            run_transaction(partial(self._name_requester, place=place))
            if request_id := registration.register_now(intake_id):
                self._decide(request_id, place)

    def _new_intakes(self, session: Session) -> list[tuple[int, Place]]:
        found = select(IntakeRow).where(
            IntakeRow.dag_id == self._dag_id, IntakeRow.id > self._seen, IntakeRow.state == "new"
        )
        return [(intake.id, intake.place) for intake in session.scalars(found.order_by(IntakeRow.id))]

    def _name_requester(self, session: Session, place: Place) -> None:
        """Put the test's requester in the place of ``dag_test``, whom Airflow names."""
        run = (DagRun.dag_id == place.dag_id, DagRun.run_id == place.run_id)
        session.execute(update(DagRun).where(*run).values(triggering_user_name=self._requested_by))

    def _decide(self, request_id: str, place: Place) -> None:
        for ballot in self._votes.get(place.task_id, ()):
            answer = decisions.decide(
                request_id,
                person=ballot.person,
                verdict=ballot.verdict,
                reason=ballot.reason,
                channel=ballot.channel,
            )
            if isinstance(answer, Refusal):
                self.refusals.setdefault(place, []).append(answer)
        run_transaction(partial(_let_expire, request_id=request_id))

    def _fail_gates(self, session: Session) -> None:
        waiting = select(TaskInstance).where(
            TaskInstance.dag_id == self._dag_id, TaskInstance.state == TaskInstanceState.AWAITING_INPUT
        )
        for ti in session.scalars(waiting):
            ti.state = TaskInstanceState.FAILED
            ti.end_date = datetime.now(UTC)


def _let_expire(session: Session, request_id: str) -> None:
    """Close what nobody else will vote on."""
    request = session.get_one(RequestRow, request_id)
    parked = airflow_seams.lock_gate(session, request.place)
    session.refresh(request, with_for_update=True)
    settlement.close_if_due(session, parked, request, now=request.expires_at + _SHORTLY)
