"""The facts of a request, gathered for every channel alike."""

from __future__ import annotations

import json
from urllib.parse import quote

from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.channels import required_actions
from airflow_approvals.channels.facts import RequestFacts, VoteFact
from airflow_approvals.config.settings import Settings
from airflow_approvals.control import airflow_seams
from airflow_approvals.control.pins import Pins
from airflow_approvals.control.requesters import Requesters
from airflow_approvals.core.ask import Ask
from airflow_approvals.core.models import Channel, RequestState, Verdict
from airflow_approvals.store import policies
from airflow_approvals.store.tables import RequestRow, VoteRow


def request_facts(session: Session, request_id: str) -> RequestFacts:
    """Gather the facts of a request as they stand now."""
    row = session.get_one(RequestRow, request_id)
    ask = Ask.from_document(json.loads(row.ask))
    pins = Pins.from_text(row.pinned)
    requesters = Requesters.from_text(row.requesters)
    # Evidence of other data says nothing about this.
    about_this = ask.evidence is not None and ask.evidence.subject == ask.data.digest
    evidence = ask.evidence if about_this else None
    return RequestFacts(
        request_id=row.id,
        subject=row.subject or f"{row.action} to {row.sink}",
        action=row.action,
        sink=row.sink,
        destination=pins.uri_prefix,
        label=row.label,
        manifest_digest=row.manifest_digest,
        object_count=ask.data.object_count,
        size=ask.data.size,
        rows=ask.data.rows,
        counts=tuple((c.column, c.entity_type, c.count) for c in ask.data.counts),
        residual=evidence.findings if evidence else (),
        coverage=(evidence.scanned, evidence.total) if evidence else (0, 0),
        not_scanned=evidence.not_scanned if evidence else ask.data.object_count,
        requesters=tuple(sorted(requesters.names)),
        unattributed=row.unattributed,
        rules=pins.bar.rules,
        seats=tuple(f"{seat.count} of {seat.group}" for seat in pins.bar.seats),
        who_may_decide=_who_may_decide(session, pins, requesters),
        expires_at=row.expires_at,
        state=RequestState(row.state),
        votes=_votes(session, request_id),
        decided_because=row.decided_because,
        author_reason=ask.reason,
        author_body="\n".join(text for text in (ask.subject, ask.body) if text) or None,
        page_url=page_url(row),
        dag_id=row.dag_id,
        run_id=row.run_id,
        task_id=row.task_id,
        reported_by=f"task {row.task_id} of {row.dag_id}, version {pins.dag_version}",
        map_index=row.map_index,
        deciding=pins.bar.deciding,
    )


def show(session: Session, parked: airflow_seams.Parked, request: RequestRow) -> None:
    """Render the request into its own row and into Airflow's inbox."""
    facts = request_facts(session, request.id)
    request.subject = required_actions.subject(facts)
    request.body = required_actions.body(facts)
    if parked.inbox is not None:
        airflow_seams.show_request(parked.inbox, subject=request.subject, body=request.body)


def page_url(row: RequestRow) -> str:
    """Return the address of the gate's Required Actions tab in Airflow."""
    mapped = f"/mapped/{row.map_index}" if row.map_index >= 0 else ""
    path = f"/dags/{quote(row.dag_id)}/runs/{quote(row.run_id)}/tasks/{quote(row.task_id)}{mapped}"
    return f"{Settings.load().base_url}{path}/required_actions"


def _who_may_decide(session: Session, pins: Pins, requesters: Requesters) -> tuple[str, ...]:
    policy = policies.active_policy(session)
    groups = policy.groups if policy else {}
    people: set[str] = set()
    for seat in pins.bar.seats:
        people |= groups.get(seat.group, frozenset())
    return tuple(sorted(people - requesters.names))


def _votes(session: Session, request_id: str) -> tuple[VoteFact, ...]:
    rows = session.scalars(select(VoteRow).where(VoteRow.request_id == request_id).order_by(VoteRow.id))
    return tuple(VoteFact(r.person_name, Verdict(r.verdict), Channel(r.channel), r.at) for r in rows)
