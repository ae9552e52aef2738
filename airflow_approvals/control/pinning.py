"""Pinning: what an intake becomes when the server writes its request down."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from airflow_approvals.control import destinations, signing_key
from airflow_approvals.control.accounts import with_account_ids
from airflow_approvals.control.pins import Pins
from airflow_approvals.control.requesters import Requesters, requesters_of, with_chat_accounts
from airflow_approvals.core.ask import Ask
from airflow_approvals.core.bar import NOTHING_ALLOWS_IT
from airflow_approvals.core.endpoint import endpoint_of
from airflow_approvals.core.facts import Facts
from airflow_approvals.core.models import RequestState
from airflow_approvals.core.policy import Assurance, Policy, Sink
from airflow_approvals.seams import airflow_seams, airflow_seams_code
from airflow_approvals.store import custody, policies
from airflow_approvals.store.tables import IntakeRow, RequestRow


def pin(
    session: Session,
    parked: airflow_seams.Parked,
    intake: IntakeRow,
    ask: Ask,
    consumers: frozenset[str],
    *,
    now: datetime,
    lookup: airflow_seams.Lookup,
    authors: Requesters,
) -> RequestRow:
    """Add the request: the ask as the policy, the sink and the code stand at this moment.

    :param consumers: the tasks that stand behind the gate.
    :param lookup: gives what identifies a Connection.
    :param authors: who wrote the gate's code.
    """
    policy = policies.active_policy(session)
    requesters = with_chat_accounts(session, requesters_of(session, intake.place).union(authors))
    requesters = with_account_ids(session, requesters)
    facts = Facts.of(ask, intake.dag_id, unattributed=requesters.unattributed)
    pins = _pins(session, parked, policy, facts, consumers, lookup, now=now)
    ttl = min(pins.bar.request_ttl, timedelta(seconds=ask.timeout_seconds))
    request = RequestRow(
        dag_id=intake.dag_id,
        run_id=intake.run_id,
        task_id=intake.task_id,
        map_index=intake.map_index,
        id=secrets.token_hex(16),
        ti_id=intake.ti_id,
        try_number=intake.try_number,
        state=RequestState.PENDING,
        ask=intake.ask,
        ask_digest=intake.ask_digest,
        manifest_digest=ask.data.digest,
        action=ask.action,
        sink=ask.sink,
        label=ask.label.word,
        policy_digest=policy.digest if policy else "",
        pinned=pins.to_text(),
        requesters=requesters.to_text(),
        unattributed=requesters.unattributed,
        subject="",
        body="",
        created_at=now,
        # The clock starts when the task asked, not when the dispatcher came round.
        expires_at=intake.received_at + ttl,
    )
    session.add(request)
    session.flush()
    return request


def _pins(
    session: Session,
    parked: airflow_seams.Parked,
    policy: Policy | None,
    facts: Facts,
    consumers: frozenset[str],
    lookup: airflow_seams.Lookup,
    *,
    now: datetime,
) -> Pins:
    bar = policy.judge(facts) if policy else NOTHING_ALLOWS_IT
    sink = policy.sinks.get(facts.sink) if policy else None
    fingerprint = _fingerprint(session, sink, lookup, now=now) if sink else ""
    number, bundle_version = airflow_seams.dag_version(session, parked.ti)
    return Pins(
        bar=bar,
        connection=sink.connection if sink else "",
        uri_prefix=sink.uri_prefix if sink else "",
        assurance=str(sink.assurance) if sink else "",
        fingerprint=fingerprint,
        dag_hash=airflow_seams.dag_hash(session, parked.ti),
        dag_version=number,
        bundle_version=bundle_version,
        consumers=tuple(sorted(consumers)),
        dev_mode=policy.dev_mode if policy else False,
        endpoint=_endpoint(sink, lookup) if sink else "",
        endpoint_changed=destinations.has_changed(session, facts.sink, fingerprint, now=now),
        source_hash=airflow_seams_code.source_hash(session, parked.ti),
        clear_number=airflow_seams.clear_number(session, parked.ti.dag_id, parked.ti.run_id),
    )


def _fingerprint(session: Session, sink: Sink, lookup: airflow_seams.Lookup, *, now: datetime) -> str:
    """Return the keyed fingerprint of what opens the sink, empty when nothing does."""
    if sink.assurance is Assurance.CONTENT_BOUND:
        return custody.served_fingerprint(session, sink.connection, now=now)
    parts = lookup(sink.connection)
    return signing_key.load().fingerprint(parts) if parts else ""


def _endpoint(sink: Sink, lookup: airflow_seams.Lookup) -> str:
    """Return where the sink's Connection leads; the custodian's is not known to this server."""
    if sink.assurance is Assurance.CONTENT_BOUND:
        return ENDPOINT_OF_CUSTODIAN
    parts = lookup(sink.connection)
    return endpoint_of(parts) if parts else ""


ENDPOINT_OF_CUSTODIAN = "as the custodian's connections file says"
