"""What Airflow knows of people: who triggered, backfilled, cleared, unpaused or fed a run.

Written against Airflow 3.3; ``tests/seams/test_airflow_seams_people.py`` holds a contract test
for each function. Airflow records names, never ids. Its ``log`` table is purged by
``airflow db clean``, so what is read here is pinned with the request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from airflow.models.asset import (
    AssetEvent,
    DagScheduleAssetReference,
    TaskInletAssetReference,
    TaskOutletAssetReference,
)
from airflow.models.backfill import Backfill
from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.hitl_history import HITLDetailHistory
from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancehistory import TaskInstanceHistory
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

#: A run is named by its DAG and its run id.
RunKey = tuple[str, str]

#: Airflow logs the call that makes an asset event before it makes the event.
CALL_BEFORE_EVENT = timedelta(seconds=60)
#: An asset-triggered run may consume very many events: so many made by call are looked at, the
#: newest ones, and so many runs that made others.
MOST_EVENTS = 100

#: Runs that the scheduler makes by itself once a DAG is unpaused.
_BY_ITSELF = (DagRunType.SCHEDULED, DagRunType.ASSET_TRIGGERED)
_CLEARING_EVENTS = ("post_clear_task_instances", "clear_dag_run", "clear_dag_runs")
_CLEARED_BY_COMMAND = ("cli_task_clear", "cli_dag_clear")
_EDITING_EVENTS = ("create_xcom_entry", "update_xcom_entry", "delete_xcom_entry")
_UNPAUSING_EVENTS = ("patch_dag", "patch_dags")
_UNPAUSED_BY_COMMAND = "cli_dag_unpause"
_MADE_BY_CALL = "create_asset_event"
_BACKFILLED_BY_CALL = "create_backfill"
#: How commands say that the DAG's id they are given is a pattern; ``-yR`` says it too.
_BY_PATTERN = re.compile(r"--(dag-r|treat).*|-[A-Za-z]*R.*", re.DOTALL)
_INTEGER = TypeAdapter(int)
_BOOLEAN = TypeAdapter(bool)


@dataclass(frozen=True)
class RunTimes:
    """When a run could start at the earliest, when it was made, and when the one before it was.

    ``before`` is ``None`` when there was none. For a run that the scheduler made by itself it is
    the last one of that kind: a manual run in between hides nobody.
    """

    due: datetime
    made: datetime
    before: datetime | None

    def was_there(self, at: datetime) -> bool:
        """Whether the run was there at that moment, or may have been."""
        return at >= min(self.due, self.made)

    def comes_next(self, at: datetime) -> bool:
        """Whether the run is the first one after that moment, or was there already."""
        return self.before is None or at > self.before

    def waited_for(self, at: datetime) -> bool:
        """Whether the run was due already and made only after that moment, as by catching up."""
        return self.due <= at <= self.made


def triggering_user(session: Session, dag_id: str, run_id: str) -> str | None:
    """Return the name Airflow recorded for whoever triggered the run.

    A run triggered from another run inherits that run's user, so this names parents' users too.
    """
    return session.scalar(
        select(DagRun.triggering_user_name).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
    )


def backfiller(session: Session, dag_id: str, run_id: str) -> str | None:
    """Return who started the backfill that made or re-ran the run.

    A backfill that reprocesses an existing run leaves its triggering user as it was.
    """
    return session.scalar(
        select(Backfill.triggering_user_name)
        .join(DagRun, DagRun.backfill_id == Backfill.id)
        .where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
    )


def backfill_of(session: Session, dag_id: str, run_id: str) -> int | None:
    """Return the id of the backfill that made or re-ran the run."""
    return session.scalar(select(DagRun.backfill_id).where(*_is(dag_id, run_id)))


def is_by_command(session: Session, dag_id: str, run_id: str) -> bool:
    """Whether a command line triggered the run, or started the backfill that made or re-ran it.

    The name is then one of the machine's, and whoever types the command chooses it. Of a backfill
    Airflow keeps no more than the name; one that people started by its API stands in its log.
    """
    run = session.scalar(select(DagRun).where(*_is(dag_id, run_id)))
    if run is None or run.triggered_by == DagRunTriggeredByType.CLI:
        return run is not None
    backfill = session.get(Backfill, run.backfill_id) if run.backfill_id is not None else None
    return backfill is not None and not _is_by_call(session, backfill)


def _is_by_call(session: Session, backfill: Backfill) -> bool:
    calls = select(Log.id).where(
        Log.event == _BACKFILLED_BY_CALL,
        Log.owner == backfill.triggering_user_name,
        Log.dttm >= backfill.created_at - CALL_BEFORE_EVENT,
        Log.dttm <= backfill.created_at,
    )
    return session.scalar(calls.limit(1)) is not None


def times_of(session: Session, dag_id: str, run_id: str) -> RunTimes | None:
    """Return when the run was due and made; unlike the time it was queued, a clear keeps both."""
    run = session.scalar(select(DagRun).where(*_is(dag_id, run_id)))
    if run is None:
        return None
    made = run.created_at or run.run_after
    return RunTimes(run.run_after or made, made, _made_before(session, run))


def _made_before(session: Session, run: DagRun) -> datetime | None:
    before = select(DagRun.created_at).where(DagRun.dag_id == run.dag_id, DagRun.id < run.id)
    if run.run_type in _BY_ITSELF:
        before = before.where(DagRun.run_type.in_(_BY_ITSELF))
    return session.scalar(before.order_by(DagRun.id.desc()).limit(1))


def logged_clearers(session: Session, dag_id: str, run_id: str) -> set[str]:
    """Return the users whom Airflow's own log names for clearing in this run."""
    return _logged_in_run(session, dag_id, run_id, _CLEARING_EVENTS)


def logged_editors(session: Session, dag_id: str, run_id: str) -> set[str]:
    """Return the users whom Airflow's own log names for changing XCom entries of this run."""
    return _logged_in_run(session, dag_id, run_id, _EDITING_EVENTS)


def _logged_in_run(session: Session, dag_id: str, run_id: str, events: tuple[str, ...]) -> set[str]:
    of_run = select(Log.owner).where(Log.dag_id == dag_id, Log.run_id == run_id, Log.event.in_(events))
    return {owner for owner in session.scalars(of_run) if owner}


def logged_command_clearers(session: Session, dag_id: str, times: RunTimes) -> set[str]:
    """Return the users of a machine who cleared tasks of the DAG by command while the run was there.

    Airflow's log does not tell which runs a command cleared.
    """
    since = min(times.due, times.made)
    rows = session.scalars(select(Log).where(Log.event.in_(_CLEARED_BY_COMMAND), Log.dttm >= since))
    return {row.owner for row in rows if row.owner and _command_is_on(row, dag_id)}


def answerers(session: Session, dag_id: str, run_id: str) -> Iterator[tuple[str, int, dict[str, str]]]:
    """Yield who answered questions of a run's tasks: task, map index, and id and name as ``HITLUser``.

    Answers to gates are among them. Answers of tries that were cleared since count too.
    """
    pairs: tuple[tuple[Any, Any, Any, Any], ...] = (
        (HITLDetail, HITLDetail.ti_id, TaskInstance, TaskInstance.id),
        (
            HITLDetailHistory,
            HITLDetailHistory.ti_history_id,
            TaskInstanceHistory,
            TaskInstanceHistory.task_instance_id,
        ),
    )
    for detail, of_task, task, key in pairs:
        found = select(task.task_id, task.map_index, detail.responded_by).join_from(
            detail, task, of_task == key
        )
        in_run = found.where(task.dag_id == dag_id, task.run_id == run_id, detail.responded_at.is_not(None))
        for task_id, map_index, by in session.execute(in_run):
            if isinstance(by, dict):
                yield task_id, map_index, by


def producing_runs(session: Session, dag_id: str, run_id: str) -> set[RunKey]:
    """Return the runs whose tasks made the asset events that started this run."""
    sources = select(AssetEvent.source_dag_id, AssetEvent.source_run_id).join(AssetEvent.created_dagruns)
    consumed = sources.where(*_is(dag_id, run_id), _OF_A_RUN).distinct().limit(MOST_EVENTS)
    return {(str(row[0]), str(row[1])) for row in session.execute(consumed)}


def asset_events_are_cut(session: Session, dag_id: str, run_id: str) -> bool:
    """Whether more events made by call started this run than are looked at."""
    events = select(AssetEvent.id).join(AssetEvent.created_dagruns)
    consumed = events.where(*_is(dag_id, run_id), ~_OF_A_RUN)
    return session.scalar(consumed.offset(MOST_EVENTS).limit(1)) is not None


def is_triggered_by_task(session: Session, dag_id: str, run_id: str) -> bool:
    """Whether a task triggered the run; Airflow does not record which."""
    kind = session.scalar(select(DagRun.run_type).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    return kind == DagRunType.OPERATOR_TRIGGERED


def run_exists(session: Session, dag_id: str, run_id: str) -> bool:
    """Whether there is such a run."""
    found = select(DagRun.id).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
    return session.scalar(found) is not None


def events_made_by_call(session: Session, dag_id: str, run_id: str) -> Sequence[AssetEvent]:
    """Return the newest asset events that started this run and that no task made."""
    events = select(AssetEvent).join(AssetEvent.created_dagruns)
    consumed = events.where(*_is(dag_id, run_id), ~_OF_A_RUN)
    return session.scalars(consumed.order_by(AssetEvent.id.desc()).limit(MOST_EVENTS)).all()


def asset_event_makers(session: Session, dag_id: str, run_id: str) -> set[str]:
    """Return the users who made, by Airflow's API, asset events that started this run.

    Airflow keeps no maker with the event. Its log names who called, on which asset and when;
    everybody who called within a minute before the event may have made it, and is returned.
    """
    made_by_call = events_made_by_call(session, dag_id, run_id)
    if not made_by_call:
        return set()
    moments = [event.timestamp for event in made_by_call]
    calls = select(Log).where(
        Log.event == _MADE_BY_CALL, Log.dttm >= min(moments) - CALL_BEFORE_EVENT, Log.dttm <= max(moments)
    )
    return {
        row.owner
        for row in session.scalars(calls)
        if row.owner and any(_may_have_made(row, event) for event in made_by_call)
    }


def dags_of_asset(session: Session, asset_id: int) -> set[str]:
    """Return the DAGs that are started by an asset, or name it as inlet or outlet of a task."""
    references = (DagScheduleAssetReference, TaskInletAssetReference, TaskOutletAssetReference)
    found = (session.scalars(select(one.dag_id).where(one.asset_id == asset_id)) for one in references)
    return {dag_id for dag_ids in found for dag_id in dag_ids}


def logged_unpausers(session: Session, dag_id: str, times: RunTimes | None) -> set[str]:
    """Return the users whom Airflow's own log names for unpausing the DAG, by page, API or command.

    A call on many DAGs at once names a pattern and no DAG; whoever made one counts.

    :param times: only who did it for that run; ``None`` for all.
    """
    found = select(Log).where(Log.event.in_((*_UNPAUSING_EVENTS, _UNPAUSED_BY_COMMAND)))
    if times is not None and times.before is not None:
        found = found.where(Log.dttm > min(times.before, times.due))
    return {
        row.owner
        for row in session.scalars(found)
        if row.owner and _unpauses(row, dag_id) and (times is None or _in_time(row, times))
    }


def _in_time(row: Log, times: RunTimes) -> bool:
    return row.dttm is not None and (times.comes_next(row.dttm) or times.waited_for(row.dttm))


_OF_A_RUN = and_(
    func.coalesce(AssetEvent.source_dag_id, "") != "", func.coalesce(AssetEvent.source_run_id, "") != ""
)


def _is(dag_id: str, run_id: str) -> tuple[ColumnElement[bool], ...]:
    return DagRun.dag_id == dag_id, DagRun.run_id == run_id


def _may_have_made(row: Log, event: AssetEvent) -> bool:
    asset_id = _extra(row).get("asset_id")
    # A body that Airflow's log has not read (its content type was not quite JSON) may have named it.
    if row.dttm is None or (asset_id is not None and _coerced(_INTEGER, asset_id) != event.asset_id):
        return False
    return event.timestamp - CALL_BEFORE_EVENT <= row.dttm <= event.timestamp


def _unpauses(row: Log, dag_id: str) -> bool:
    if row.event == _UNPAUSED_BY_COMMAND:
        return _command_is_on(row, dag_id)
    if row.dag_id not in (dag_id, None):
        return False
    # Without a word of it in the log, the body was not read there, and may have said either.
    return _coerced(_BOOLEAN, _extra(row).get("is_paused", False)) is False


def _command_is_on(row: Log, dag_id: str) -> bool:
    """Whether a logged command is on the DAG, or on all that fit a pattern."""
    command = _extra(row).get("full_command")
    words = command if isinstance(command, list) else re.findall(r"[^\s',\[\]]+", str(command))
    return row.dag_id == dag_id or any(_BY_PATTERN.fullmatch(str(word)) for word in words)


def _coerced(kind: TypeAdapter[int] | TypeAdapter[bool], value: object) -> int | bool | None:
    """Return a value as Airflow's API reads it, ``None`` when it would refuse it."""
    try:
        return kind.validate_python(value)
    except ValidationError:
        return None


def _extra(row: Log) -> dict[str, object]:
    try:
        found = json.loads(row.extra or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
