"""The requester set: everybody known to have started or shaped a run. None of them votes."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control import airflow_seams
from airflow_approvals.core.models import Place
from airflow_approvals.store.tables import ActorRow

TRIGGERED = "triggered the run"


@dataclass(frozen=True)
class Requesters:
    """Members by id and by name (Airflow records only the name of whoever triggers), each why.

    ``members`` are ``(id or name, reason)`` pairs, sorted.
    """

    members: tuple[tuple[str, str], ...]

    @property
    def names(self) -> frozenset[str]:
        """Every id and name that is barred."""
        return frozenset(name for name, _ in self.members)

    @property
    def unattributed(self) -> bool:
        """Whether nobody can be named who started the run.

        Who cleared or marked something in it has shaped it, but has not owned up to it.
        """
        return not any(why == TRIGGERED for _, why in self.members)

    def union(self, other: Requesters) -> Requesters:
        """Return both together: who once shaped the run stays in the set."""
        return Requesters(tuple(sorted(set(self.members) | set(other.members))))

    def to_text(self) -> str:
        """Return the JSON text that is stored with a request."""
        return json.dumps([list(member) for member in self.members])

    @classmethod
    def from_text(cls, text: str) -> Requesters:
        """Read the stored JSON text."""
        return cls(tuple((name, why) for name, why in json.loads(text)))


def requesters_of(session: Session, place: Place) -> Requesters:
    """Return who started or shaped the run: its triggering user (which a run triggered from
    another run inherits), and whoever cleared, marked or deleted something in it.
    """
    members: set[tuple[str, str]] = set()
    if name := airflow_seams.triggering_user(session, place.dag_id, place.run_id):
        members.add((name, TRIGGERED))
    if name := airflow_seams.backfiller(session, place.dag_id, place.run_id):
        members.add((name, TRIGGERED))
    for owner in airflow_seams.logged_clearers(session, place.dag_id, place.run_id):
        members.add((owner, "cleared tasks of the run"))
    for actor in _actors(session, place):
        reason = _REASONS[actor.act]
        members.add((actor.person_id, reason))
        members.add((actor.person_name, reason))
    return Requesters(tuple(sorted(members)))


_REASONS = {
    "clear": "cleared tasks of the run",
    "mark": "marked tasks of the run",
    "delete": "deleted tasks of the run",
}


def _actors(session: Session, place: Place) -> list[ActorRow]:
    """Return the acts on the run, and later ones whose runs could not be told."""
    of_dag = select(ActorRow).where(ActorRow.dag_id == place.dag_id)
    acts = list(session.scalars(of_dag.where(ActorRow.run_id == place.run_id)))
    since = airflow_seams.run_after(session, place.dag_id, place.run_id)
    if since is not None:
        acts += session.scalars(of_dag.where(ActorRow.run_id == "", ActorRow.at >= since))
    return acts
