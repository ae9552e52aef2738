"""The requester set: everybody known to have started or shaped a run. None of them votes.

1. The triggering user (which a run triggered from another run inherits) and the backfiller have
   *started* the run. Only they make it attributed, and only when Airflow knew who they were.
2. Who cleared, marked, deleted or edited something in it, answered its tasks, unpaused its DAG since
   the run before, wrote code since the last approved version, or made the asset events behind it has
   *shaped* it.
3. What holds for a run holds for the runs whose tasks fed or triggered it, transitively.
4. The chat accounts that the policy, or their owner, has tied to a member are members.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.core.models import CHATS, Place
from airflow_approvals.identity.chat_accounts import accounts_of
from airflow_approvals.seams import airflow_seams_people as people
from airflow_approvals.store.actors import EVERY_DAG, of_asset_event, of_backfill, of_call_on_asset
from airflow_approvals.store.tables import ActorRow, IntakeRow

TRIGGERED = "triggered the run"
#: Not the same as triggering it: a command line says who it is, and Airflow asks nobody.
BY_COMMAND = "named by a command that started the run; any name can stand there"
UNPAUSED = "unpaused the DAG since its last run"
#: How many runs are followed back through asset events.
MOST_FOLLOWED = 25
TOO_MANY = f"More than {MOST_FOLLOWED} runs fed this one, so not everybody behind them is known."
TOO_MANY_EVENTS = "So many asset events were made by call that not everybody behind them is known."
BY_TASK = "Code authors unknown of the DAG whose task triggered this run."

#: A member by id or by name, and why.
Member = tuple[str, str]


@dataclass(frozen=True)
class Requesters:
    """Members by id and by name (Airflow records only the name of whoever triggers), each why.

    ``members`` are ``(id or name, reason)`` pairs, sorted. ``notes`` say what could not be known.
    """

    members: tuple[Member, ...]
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Every id and name that is barred."""
        return frozenset(name for name, _ in self.members)

    @property
    def explained(self) -> tuple[str, ...]:
        """Every id and name with all its reasons, as people read it."""
        reasons: dict[str, list[str]] = {}
        for name, why in self.members:
            reasons.setdefault(name, []).append(why)
        return tuple(f"{name} ({'; '.join(whys)})" for name, whys in sorted(reasons.items()))

    @property
    def unattributed(self) -> bool:
        """Whether nobody can be named who started the run.

        Who only shaped it has not owned up to it. A run fed by more runs than are looked at
        counts as unattributed too, as does one with more asset events: the one who matters could
        be behind those.
        """
        return not {TOO_MANY, TOO_MANY_EVENTS}.isdisjoint(self.notes) or not any(
            why == TRIGGERED for _, why in self.members
        )

    @property
    def is_cut_off(self) -> bool:
        """Whether somebody may have started the run whom these do not name, or another than they name."""
        return not {TOO_MANY, TOO_MANY_EVENTS}.isdisjoint(self.notes) or any(
            why.startswith(BY_COMMAND) for _, why in self.members
        )

    def union(self, other: Requesters) -> Requesters:
        """Return both together: who once shaped the run stays in the set."""
        members = tuple(sorted(set(self.members) | set(other.members)))
        return Requesters(members, tuple(dict.fromkeys((*self.notes, *other.notes))))

    def to_text(self) -> str:
        """Return the JSON text that is stored with a request."""
        return json.dumps({"members": [list(member) for member in self.members], "notes": list(self.notes)})

    @classmethod
    def from_text(cls, text: str) -> Requesters:
        """Read the stored JSON text; a bare list of members is the form without notes."""
        stored = json.loads(text)
        if isinstance(stored, list):
            stored = {"members": stored, "notes": []}
        return cls(tuple((name, why) for name, why in stored["members"]), tuple(stored["notes"]))


def requesters_of(session: Session, place: Place) -> Requesters:
    """Return who started or shaped the run, as far as the database tells.

    Who wrote its code is read from the bundle's history, before any transaction; see
    :mod:`airflow_approvals.control.code_authors`.
    """
    members = _shapers_of(session, place)
    run = (place.dag_id, place.run_id)
    followed, cut = _followed(session, run)
    for dag_id, run_id in followed:
        of_it = _shapers_of(session, Place(dag_id, run_id, place.task_id))
        members |= {(name, f"{why}, in {dag_id} whose data started this run") for name, why in of_it}
    notes = [TOO_MANY] if cut else []
    if any(people.asset_events_are_cut(session, *key) for key in (run, *followed)):
        notes.append(TOO_MANY_EVENTS)
    if people.is_triggered_by_task(session, *run):
        notes.append(BY_TASK)
    found = Requesters(tuple(sorted(members)), tuple(notes))
    return with_chat_accounts(session, found)


def with_chat_accounts(session: Session, requesters: Requesters) -> Requesters:
    """Return the set with the chat accounts that are tied to its members."""
    barred = [
        (account, f"{chat.value.capitalize()} account of {name}")
        for chat in sorted(CHATS)
        for account, name in accounts_of(session, requesters.names, chat).items()
        if account != name
    ]
    return requesters.union(Requesters(tuple(barred)))


def _shapers_of(session: Session, place: Place) -> set[Member]:
    dag_id, run_id = place.dag_id, place.run_id
    times = people.times_of(session, dag_id, run_id)
    acts = _acts(session, place, times)
    members = _starters(session, place, acts) | _logged(session, place, times)
    for act in acts:
        members |= {(name, _REASONS[act.act]) for name in (act.person_id, act.person_name)}
    answerers = _answerers(session, place)
    return members | {(name, _REASONS["edit"]) for name in answerers}


def _starters(session: Session, place: Place, acts: list[ActorRow]) -> set[Member]:
    """Return who has owned up to the run; a name that a command line gave is nobody's word."""
    dag_id, run_id = place.dag_id, place.run_id
    names = {people.triggering_user(session, dag_id, run_id), people.backfiller(session, dag_id, run_id)}
    by_command = people.is_by_command(session, dag_id, run_id) or any(act.act == "command" for act in acts)
    return {(name, BY_COMMAND if by_command else TRIGGERED) for name in names if name}


def _logged(session: Session, place: Place, times: people.RunTimes | None) -> set[Member]:
    """Return whom Airflow's own log names, which also sees what did not pass our servers."""
    dag_id, run_id = place.dag_id, place.run_id
    members = {(name, _REASONS["clear"]) for name in people.logged_clearers(session, dag_id, run_id)}
    members |= {(name, _REASONS["edit"]) for name in people.logged_editors(session, dag_id, run_id)}
    members |= {(name, _REASONS["feed"]) for name in people.asset_event_makers(session, dag_id, run_id)}
    members |= {(name, UNPAUSED) for name in people.logged_unpausers(session, dag_id, times)}
    if times is not None:
        by_command = people.logged_command_clearers(session, dag_id, times)
        members |= {(name, _REASONS["clear"]) for name in by_command}
    return members


def _answerers(session: Session, place: Place) -> set[str]:
    """Return who answered what tasks of the run asked people; answers to gates are votes, and not meant."""
    asked = select(IntakeRow.task_id).where(
        IntakeRow.dag_id == place.dag_id, IntakeRow.run_id == place.run_id
    )
    gates = set(session.scalars(asked))
    answers = people.answerers(session, place.dag_id, place.run_id)
    return {
        str(by[key])
        for task_id, _, by in answers
        for key in ("id", "name")
        if task_id not in gates and by.get(key)
    }


_REASONS = {
    "clear": "cleared tasks of the run",
    "mark": "marked tasks of the run",
    "delete": "deleted tasks of the run",
    "edit": "changed what tasks of the run read",
    "feed": "made an asset event that started the run",
    "unpause": UNPAUSED,
    "start": TRIGGERED,
    "trigger": "started or shaped a run that triggered this one",
    "command": BY_COMMAND,
}


def _followed(session: Session, run: people.RunKey) -> tuple[list[people.RunKey], bool]:
    """Return the runs whose data started this one, transitively, and whether there are more."""
    seen = [run]
    for key in seen:  # which grows while it is walked
        for producer in sorted(people.producing_runs(session, *key) - set(seen)):
            if len(seen) > MOST_FOLLOWED:
                return seen[1:], True
            seen.append(producer)
    return seen[1:], False


def _acts(session: Session, place: Place, times: people.RunTimes | None) -> list[ActorRow]:
    """Return the acts on the run, on the events that started it, and on its DAG in time to shape it."""
    of_run = (ActorRow.dag_id == place.dag_id, ActorRow.run_id == place.run_id)
    acts = list(session.scalars(select(ActorRow).where(*of_run)))
    if not people.is_triggered_by_task(session, place.dag_id, place.run_id):
        # Written down before a task's trigger that came to nothing; somebody else made the run.
        acts = [act for act in acts if act.act not in ("trigger", "command")]
    backfill = people.backfill_of(session, place.dag_id, place.run_id)
    if backfill is not None:
        made_it = (ActorRow.dag_id == "", ActorRow.run_id == of_backfill(backfill).run_id)
        acts += session.scalars(select(ActorRow).where(*made_it))
    of_dag = (ActorRow.dag_id.in_((place.dag_id, EVERY_DAG)), ActorRow.run_id == "")
    acts += [act for act in session.scalars(select(ActorRow).where(*of_dag)) if _in_time(act, times)]
    return acts + list(_makers(session, place))


def _in_time(act: ActorRow, times: people.RunTimes | None) -> bool:
    """Whether an act on a whole DAG came in time to shape the run."""
    if times is None:
        return act.act == "unpause"
    if act.act == "unpause":
        return times.comes_next(act.at) or times.waited_for(act.at)
    # What is stored with an asset is still there for the run after.
    return times.was_there(act.at) or (act.act == "edit" and times.comes_next(act.at))


def _makers(session: Session, place: Place) -> Iterator[ActorRow]:
    """Yield who made, by call, an asset event that started the run, or was about to."""
    events = people.events_made_by_call(session, place.dag_id, place.run_id)
    made = {of_asset_event(event.id).run_id for event in events}
    meant: dict[str, list[datetime]] = {}
    for event in events:
        meant.setdefault(of_call_on_asset(event.asset_id).run_id, []).append(event.timestamp)
    named = select(ActorRow).where(ActorRow.dag_id == "", ActorRow.run_id.in_((*made, *meant)))
    for act in session.scalars(named):
        moments = meant.get(act.run_id, ())
        if act.run_id in made or any(act.at <= at <= act.at + people.CALL_BEFORE_EVENT for at in moments):
            yield act
