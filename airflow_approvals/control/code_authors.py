"""Who wrote the code that a gate runs by, since a version of it was last approved.

A bundle's history is on disk and may be long, so it is read before any transaction, in three
steps: :func:`question` from the database, :func:`answer` from the history, and
:meth:`CodeAuthors.requesters` into the set. What cannot be known is said on the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control.pins import Pins
from airflow_approvals.control.requesters import Requesters
from airflow_approvals.core.models import Place, RequestState, Verdict
from airflow_approvals.seams import airflow_seams, git_history
from airflow_approvals.store import policies
from airflow_approvals.store.tables import RequestRow, VoteRow

#: So many addresses are named on a request; more are counted.
MOST_NAMED = 10
_RECENT = 20


@dataclass(frozen=True)
class Question:
    """Whose history is asked for: a bundle's at a version, since the version approved last.

    ``known`` maps addresses in lower case to ids or names of Airflow users.
    """

    bundle: str
    version: str
    since: str | None
    known: Mapping[str, str]


NOT_READ = Requesters((), ("Code authors unknown: the bundle's history was not read.",))


def question(session: Session, place: Place) -> Question | None:
    """Return what to ask about the code at that place; ``None`` when nothing stands there."""
    ti = airflow_seams.task_instance_at(session, place)
    if ti is None:
        return None
    bundle, version = airflow_seams.bundle_of(session, ti)
    policy = policies.active_policy(session)
    known = {mail.lower(): name for mail, name in policy.git_authors.items()} if policy else {}
    return Question(bundle, version, _last_approved(session, place), known)


def answer(asked: Question | None) -> Requesters:
    """Read the bundle's history; no transaction may be open.

    :returns: the authors whom the policy's ``identities.git`` names, and notes on all that is unknown.
    """
    if asked is None or not asked.bundle:
        return _unknown("the run's DAG version is not recorded")
    if not asked.version:
        return _unknown(f"bundle {asked.bundle} keeps no versions")
    repository = airflow_seams.bundle_repository(asked.bundle)
    found = git_history.authors(repository, asked.version, asked.since)
    if found is None:
        return _unknown(f"the history of bundle {asked.bundle} cannot be read on this server")
    return Requesters(tuple(sorted(_members(asked, found))), tuple(_notes(asked, found)))


def _members(asked: Question, found: git_history.Authors) -> set[tuple[str, str]]:
    why = f"wrote code of bundle {asked.bundle} since its last approved version"
    if asked.since is None:
        why = f"wrote code of bundle {asked.bundle}, of which no version was approved before"
    return {(asked.known[mail], why) for mail in found.wrote | found.committed if mail in asked.known}


def _notes(asked: Question, found: git_history.Authors) -> list[str]:
    notes = []
    strangers = sorted(found.wrote - asked.known.keys())
    if strangers:
        more = f" and {len(strangers) - MOST_NAMED} more" if len(strangers) > MOST_NAMED else ""
        named = ", ".join(strangers[:MOST_NAMED]) + more
        notes.append(f"Code by {named}, whom the policy's identities.git does not name: they are not barred.")
    if found.cut:
        notes.append("Code authors unknown beyond the part of the bundle's history that was read.")
    return notes


def _unknown(why: str) -> Requesters:
    return Requesters((), (f"Code authors unknown: {why}.",))


def _last_approved(session: Session, place: Place) -> str | None:
    """Return the bundle version that people last approved at this gate, in whatever run.

    What no person voted for (permitted by rule, opened in an emergency, rehearsed) was not looked
    at, so its authors still count.
    """
    voted = select(VoteRow.request_id).where(VoteRow.verdict == Verdict.APPROVE)
    approved = select(RequestRow.pinned).where(
        RequestRow.dag_id == place.dag_id,
        RequestRow.task_id == place.task_id,
        RequestRow.state == RequestState.APPROVED,
        RequestRow.id.in_(voted),
    )
    for pinned in session.scalars(approved.order_by(RequestRow.decided_at.desc()).limit(_RECENT)):
        pins = Pins.from_text(pinned)
        if pins.bundle_version and not pins.dev_mode:
            return pins.bundle_version
    return None
