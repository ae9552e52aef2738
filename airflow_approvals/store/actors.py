"""Who shaped which run, asset event or DAG: rows of people and of what they did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.orm import Session

from airflow_approvals.core.models import Person, Place
from airflow_approvals.store.tables import ActorRow

#: A run is named by its DAG and its run id.
RunKey = tuple[str, str]
#: In place of a DAG's id: the call was on many DAGs, and did not name them.
EVERY_DAG = "~"
#: Characters that a name of Airflow's holds at most.
LONGEST_NAME = 250


def is_name(text: str) -> bool:
    """Whether it can be the id of a DAG, run or task in Airflow's database (or be empty)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return len(text) <= LONGEST_NAME and "\x00" not in text


def add(session: Session, places: Iterable[Place], person: Person, act: str, *, at: datetime) -> list[int]:
    """Write down that somebody did this there; return the ids of the rows."""
    rows = [
        ActorRow(
            dag_id=place.dag_id,
            run_id=place.run_id,
            task_id=place.task_id,
            map_index=place.map_index,
            person_id=person.id,
            person_name=person.name,
            act=act,
            at=at,
        )
        for place in places
    ]
    session.add_all(rows)
    session.flush()
    return [row.id for row in rows]


def forget(session: Session, ids: Sequence[int]) -> None:
    """Take rows away again: what they say came to nothing, or stands in others now."""
    if ids:
        session.execute(delete(ActorRow).where(ActorRow.id.in_(ids)))


def of_call_on_asset(asset_id: int) -> Place:
    """Return the place that stands for a call which is about to make an event of an asset."""
    return Place("", f"asset {asset_id}", "")


def of_backfill(backfill_id: int) -> Place:
    """Return the place that stands for a backfill, which makes runs later."""
    return Place("", f"backfill {backfill_id}", "")


def of_asset_event(event_id: int) -> Place:
    """Return the place that stands for an asset event that a call has made."""
    return Place("", f"event {event_id}", "")
