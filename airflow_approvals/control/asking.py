"""Asking through the API: a program starts a gate's DAG and thereby asks people; it never decides.

The caller is the run's triggering user, hence one of its requesters, and has no vote on it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from airflow_approvals.core.digest import sha256_digest
from airflow_approvals.core.models import Channel, Person, Place, Refusal
from airflow_approvals.seams import airflow_seams_runs as runs
from airflow_approvals.seams import dag_graph
from airflow_approvals.store import actors, ledger
from airflow_approvals.store.ledger import EntryKind
from airflow_approvals.store.session import run_transaction


@dataclass(frozen=True)
class Asked:
    """The run that asks; ``again`` when the same key had started it before."""

    dag_id: str
    run_id: str
    again: bool


def ask(dag_id: str, conf: dict[str, Any], *, key: str, person: Person, channel: Channel) -> Asked | Refusal:
    """Start a run of a DAG that holds a gate, once per person, DAG and key.

    The caller has checked that the person may trigger the DAG.

    :param conf: JSON; what the DAG takes as its run's configuration.
    :param key: the caller's idempotency key.
    :returns: the run, or a refusal ``cannot_start``, ``no_gate``, ``invalid_conf`` or ``key_reused``.
    """

    def work(session: Session) -> Asked | Refusal:
        return _ask(session, dag_id, conf, key, person, channel)

    try:
        return run_transaction(work)
    except IntegrityError:
        # The same key at the same moment: the other call has started the run by now.
        return run_transaction(work)


def _ask(
    session: Session, dag_id: str, conf: dict[str, Any], key: str, person: Person, channel: Channel
) -> Asked | Refusal:
    run_id = f"asked__{hashlib.sha256(chr(0).join((person.id, dag_id, key)).encode()).hexdigest()[:32]}"
    before = runs.conf_of(session, dag_id, run_id)
    if before is not None:
        if before == conf:
            return Asked(dag_id, run_id, again=True)
        return Refusal("key_reused", "This idempotency key was used with another configuration.", 409)
    if (why := runs.cannot_start(session, dag_id)) is not None:
        return Refusal("cannot_start", why, 409)
    dag = dag_graph.latest_dag(session, dag_id)
    if dag is None or not dag_graph.dag_has_gate(dag):
        return Refusal("no_gate", "No task of this DAG is a gate, so nobody would be asked.", 409)
    if (wrong := runs.start_run(session, dag, run_id, conf, person)) is not None:
        return Refusal("invalid_conf", wrong, 422)
    # Airflow keeps the name, which can be changed.
    actors.add(session, [Place(dag_id, run_id, "")], person, "start", at=datetime.now(UTC))
    ledger.append(
        session,
        EntryKind.REQUEST_ASKED_FOR,
        at=datetime.now(UTC),
        actor=person.id,
        channel=channel,
        place=Place(dag_id, run_id, ""),
        details={"name": person.name, "key": sha256_digest(key.encode())},
    )
    return Asked(dag_id, run_id, again=False)
