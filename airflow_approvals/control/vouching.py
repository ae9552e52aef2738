"""Vouching: a second person confirms that a Slack account was rightly linked again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from airflow_approvals.control import judging, machines
from airflow_approvals.control.account_links import NO_LINK, Linked, enter, linked
from airflow_approvals.core.models import Channel, Person, Refusal
from airflow_approvals.core.policy import Policy
from airflow_approvals.identity.directory import Membership
from airflow_approvals.identity.slack_accounts import Account
from airflow_approvals.store import account_links as links
from airflow_approvals.store import policies
from airflow_approvals.store.chat_tables import AccountLinkRow
from airflow_approvals.store.ledger import EntryKind
from airflow_approvals.store.session import run_read

COOL_DOWN = timedelta(hours=24)
_SLACK = Channel.SLACK.value

NOTHING_TO_VOUCH = Refusal("already_vouched", "This link waits for nobody.", 409)
A_PARTY = Refusal(
    "own_link", "You are, or were, one of the two; somebody else has to confirm the new link.", 403
)
NOT_A_DECIDER = Refusal(
    "not_eligible", "Only somebody of a group that decides requests can confirm a new link.", 403
)


def vouch(link_id: int, person: Person) -> Linked | Refusal:
    """Confirm, as a second person, that an account or person was rightly linked again.

    :param person: somebody of a group that decides requests, and neither of the two.
    """
    return judging.with_membership(lambda session, members: _vouch(session, members, link_id, person))


def waiting(session: Session) -> list[Linked]:
    """Return the links that wait for a second person."""
    policy = policies.active_policy(session)
    standing = links.standing(session, _SLACK, (policy.slack_team if policy is not None else None) or "")
    return [linked(link) for link in standing if link.votes_from is None]


def may_vouch(person: Person) -> bool:
    """Whether the person could confirm some link. No transaction may be open: groups are asked."""
    members = judging.membership_now()
    policy = run_read(policies.active_policy)
    return machines.refused(person) is None and bool({person.id, person.name} & _deciders(policy, members))


def _vouch(session: Session, members: Membership, link_id: int, person: Person) -> Linked | Refusal:
    now = datetime.now(UTC)
    policy = policies.active_policy(session)
    judging.require_current(members, policy)
    link = session.get(AccountLinkRow, link_id, with_for_update=True, populate_existing=True)
    if link is None or not link.standing:
        return NO_LINK
    account = Account(link.team, link.account)
    if (refusal := _no_voucher(session, link, person, _deciders(policy, members))) is not None:
        enter(session, EntryKind.LINK_REFUSED, account, person, now, code=refusal.code, act="vouch")
        return refusal
    link.vouched_by, link.votes_from = person.id, now + COOL_DOWN
    session.flush()
    of = {"of": link.person_id, "votes_from": link.votes_from.isoformat()}
    enter(session, EntryKind.LINK_VOUCHED, account, person, now, **of)
    return linked(link)


def _no_voucher(
    session: Session, link: AccountLinkRow, person: Person, deciders: frozenset[str]
) -> Refusal | None:
    if link.votes_from is not None:
        return NOTHING_TO_VOUCH
    names = {person.id, person.name}
    if names & links.people_ever(session, _SLACK, link.team, link.account):
        return A_PARTY
    return machines.refused(person) or (None if names & deciders else NOT_A_DECIDER)


def _deciders(policy: Policy | None, members: Membership) -> frozenset[str]:
    """Return everybody who fills a seat of any rule."""
    seats = {seat.group for rule in policy.rules for seat in rule.bar.seats} if policy is not None else set()
    return frozenset[str]().union(*(members.groups.get(group, frozenset()) for group in seats))
