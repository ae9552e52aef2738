"""The facts of a request, gathered for every channel alike."""

from __future__ import annotations

from urllib.parse import quote

from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.channels import required_actions
from airflow_approvals.channels.facts import RequestFacts, VoteFact
from airflow_approvals.config.settings import Settings
from airflow_approvals.control import deliveries, judging, last_approval
from airflow_approvals.control.pins import Pins
from airflow_approvals.control.requesters import Requesters
from airflow_approvals.core.models import Channel, RequestState, Verdict
from airflow_approvals.core.seats import Names, spoken
from airflow_approvals.identity.chat_accounts import accounts_of
from airflow_approvals.identity.directory import Membership
from airflow_approvals.seams import airflow_seams
from airflow_approvals.store import policies
from airflow_approvals.store.release_tables import BreakGlassRow
from airflow_approvals.store.tables import RequestRow, VoteRow

#: Slack takes 3,000 characters in an element; letters of other scripts take nine each in an address.
MAX_PATH = 2_000


def request_facts(session: Session, request_id: str, members: Membership | None = None) -> RequestFacts:
    """Gather the facts of a request as they stand now.

    :param members: who is in which group, resolved while no transaction was open; without them, only
        the groups that the policy lists are known.
    """
    row = session.get_one(RequestRow, request_id)
    ask = judging.ask_of(row)
    pins = Pins.from_text(row.pinned)
    requesters = Requesters.from_text(row.requesters)
    evidence = ask.evidence_of_this_data
    last_approved_at, changes = last_approval.changes_since(session, row)
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
        requesters=requesters.explained,
        requester_notes=requesters.notes,
        break_glass=session.get(BreakGlassRow, request_id) is not None,
        unattributed=row.unattributed,
        rules=pins.bar.rules,
        seats=tuple(f"{seat.count} of {seat.group}" for seat in pins.bar.seats),
        who_may_decide=_who_may_decide(session, pins, requesters, members),
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
        reported_by=_reported_by(row, pins),
        map_index=row.map_index,
        deciding=pins.bar.deciding,
        assurance=pins.assurance,
        endpoint=pins.endpoint,
        endpoint_changed=pins.endpoint_changed,
        last_approved_at=last_approved_at,
        changes=changes,
        teams_accounts=_teams_accounts(session, pins, requesters, members),
    )


def show(
    session: Session,
    parked: airflow_seams.Parked,
    request: RequestRow,
    members: Membership | None = None,
) -> None:
    """Render the request into its own row and into Airflow's inbox; ``members`` as for the facts."""
    facts = request_facts(session, request.id, members)
    request.subject = required_actions.subject(facts)
    request.body = required_actions.body(facts, deliveries.undelivered(session, request.id))
    if parked.inbox is not None:
        airflow_seams.show_request(parked.inbox, subject=request.subject, body=request.body)


def show_again(session: Session, request_id: str, members: Membership | None = None) -> bool:
    """Bring Airflow's page about a request up to date, as long as it is open; say whether it was.

    What a vote is about does not change by it: that is the ask and the destination, not the page.
    """
    request = session.get(RequestRow, request_id)
    parked = airflow_seams.lock_gate(session, request.place) if request is not None else None
    if request is None or parked is None:
        return False
    session.refresh(request, with_for_update=True)
    its_try = parked.is_try(request.ti_id, request.try_number)
    if request.state != RequestState.PENDING or not (its_try and parked.is_waiting):
        return False
    show(session, parked, request, members)
    return True


def _reported_by(row: RequestRow, pins: Pins) -> str:
    task = f"task {row.task_id} of {row.dag_id}, version {pins.dag_version}"
    return f"{task}; read again and verified by the custodian" if row.verified else task


def page_url(row: RequestRow) -> str:
    """Return the address of the gate's Required Actions tab in Airflow.

    Of all that wait when the ids are so long that Slack would refuse the whole message for the address.
    """
    mapped = f"/mapped/{row.map_index}" if row.map_index >= 0 else ""
    path = f"/dags/{quote(row.dag_id)}/runs/{quote(row.run_id)}/tasks/{quote(row.task_id)}{mapped}"
    base = Settings.load().base_url
    return f"{base}{path if len(path) <= MAX_PATH else ''}/required_actions"


def _deciders(
    session: Session, pins: Pins, requesters: Requesters, members: Membership | None
) -> tuple[list[Names], list[str]]:
    """Return the people known to be able to decide, and the groups of which not all is known."""
    policy = policies.active_policy(session)
    if policy is None:
        return [], []
    groups = sorted({seat.group for seat in pins.bar.seats} & policy.groups.keys())
    if members is None or members.policy != policy.digest:
        others = dict.fromkeys(policy.groups.keys() - policy.listed_groups.keys(), "It was not asked.")
        members = Membership(policy.digest, policy.listed_groups, others)
    people = [person for person in members.people_in(groups) if not person & requesters.names]
    return people, [group for group in groups if group in members.unresolved]


def _who_may_decide(
    session: Session, pins: Pins, requesters: Requesters, members: Membership | None
) -> tuple[str, ...]:
    """Name everybody known; of a group that was not asked, or could not be, the group is named."""
    people, unknown = _deciders(session, pins, requesters, members)
    return (*sorted(spoken(person) for person in people), *(f"whoever is in {group}" for group in unknown))


def _teams_accounts(
    session: Session, pins: Pins, requesters: Requesters, members: Membership | None
) -> tuple[str, ...]:
    """Return the accounts of requesters first: they are the ones to be spared a refusal."""
    deciders = frozenset[str]().union(*_deciders(session, pins, requesters, members)[0])
    sorts = (requesters.names, deciders)
    return tuple(account for names in sorts for account in sorted(accounts_of(session, names, Channel.TEAMS)))


def _votes(session: Session, request_id: str) -> tuple[VoteFact, ...]:
    rows = session.scalars(select(VoteRow).where(VoteRow.request_id == request_id).order_by(VoteRow.id))
    return tuple(VoteFact(r.person_name, Verdict(r.verdict), Channel(r.channel), r.at) for r in rows)
