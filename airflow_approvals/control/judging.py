"""Judging a request: by which facts, by which bar, and by whom, as all three stand now."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control import machines
from airflow_approvals.control.pins import Pins
from airflow_approvals.control.requesters import Requesters, requesters_of
from airflow_approvals.core.ask import Ask, ReportedEvidence
from airflow_approvals.core.bar import NOTHING_ALLOWS_IT, Bar, Effect, EvidenceDemand, stricter
from airflow_approvals.core.decision import SELF_APPROVAL, Tally, eligible, tally
from airflow_approvals.core.demands import first_unmet
from airflow_approvals.core.facts import Facts
from airflow_approvals.core.models import Channel, Person, Refusal, Vote
from airflow_approvals.core.policy import Policy, Sink
from airflow_approvals.errors import ConfigurationError
from airflow_approvals.identity.directory import Membership, resolve
from airflow_approvals.store import policies
from airflow_approvals.store.ledger import EntryKind
from airflow_approvals.store.session import run_read, run_transaction
from airflow_approvals.store.tables import LedgerRow, RequestRow

T = TypeVar("T")
#: A policy can be activated between asking for its groups and the transaction that uses them.
_TRIES = 3
NOBODY = Membership("", {})


class PolicyReplacedError(Exception):
    """Another policy was activated since its groups were asked for."""


@dataclass(frozen=True)
class Terms:
    """By what the votes on one request are counted at this moment.

    ``sink`` is where the request may go by the active policy. ``requesters`` are all that were ever
    known; ``barred`` are their ids and names, and nobody in a rehearsal under ``dev_mode``.
    """

    bar: Bar
    sink: Sink | None
    membership: Membership
    requesters: Requesters
    barred: frozenset[str]

    def count(self, votes: Iterable[Vote]) -> Tally:
        """Return what the votes of people come to."""
        return tally(
            self.bar,
            self.membership.groups,
            # Programs could not fill a seat either.
            self.barred | machines.listed(),
            machines.without_machines(votes),
            unattributed=self.requesters.unattributed,
            unknown=self.membership.unresolved,
            aliases=self.membership.aliases,
        )

    def counted(self, votes: Iterable[Vote]) -> list[Vote]:
        """Return the votes that count."""
        return [
            vote
            for vote in machines.without_machines(votes)
            if eligible(self.bar, self.membership.groups, self.barred, vote.person, vote.channel) is None
        ]


def terms_now(session: Session, request: RequestRow, membership: Membership) -> Terms:
    """Return the terms as they stand now; :raises PolicyReplacedError: when the groups do not fit."""
    policy = policies.active_policy(session)
    require_current(membership, policy)
    requesters = Requesters.from_text(request.requesters).union(requesters_of(session, request.place))
    barred = frozenset() if is_rehearsal(request, policy) else requesters.names
    sink = policy.sinks.get(request.sink) if policy is not None else None
    return Terms(bar_now(request, policy), sink, membership, requesters, barred)


def is_rehearsal(request: RequestRow, policy: Policy | None) -> bool:
    """Whether ``dev_mode`` lifts the separation of duties: only where the record will say so."""
    return policy is not None and policy.dev_mode and Pins.from_text(request.pinned).dev_mode


def why_forbidden(request: RequestRow, terms: Terms) -> str | None:
    """Return why no votes could approve the request as things stand now."""
    if terms.bar.effect is Effect.FORBID:
        return "The policy in force now forbids it."
    if (because := leads_elsewhere(request, terms.sink)) is not None:
        return because
    return first_unmet(terms.bar, ask_of(request), unattributed=terms.requesters.unattributed)


def leads_elsewhere(request: RequestRow, sink: Sink | None) -> str | None:
    """Return that the sink, as the active policy has it, is not the pinned one any more."""
    if sink is None or Pins.from_text(request.pinned).is_of(sink):
        return None
    return f"The policy in force now has sink {request.sink} lead elsewhere; clear the gate to ask anew."


def ineligible(terms: Terms, person: Person, channel: Channel, account: str = "") -> Refusal | None:
    """Return why this person's vote by this channel would not count, whatever it says.

    :param account: the chat account it comes from: a requester's stays barred, whoever it is tied to now.
    """
    refusal = machines.refused(person) or (SELF_APPROVAL if account in terms.barred else None)
    refusal = refusal or eligible(terms.bar, terms.membership.groups, terms.barred, person, channel)
    return terms.membership.explain(refusal, person, {seat.group for seat in terms.bar.seats})


def lacking_evidence(session: Session, request: RequestRow, bar: Bar) -> Refusal | None:
    """Return why nobody can approve on the evidence that is there.

    :returns: a refusal ``evidence_refuted`` or ``evidence_pending``, 409.
    """
    refuted = select(LedgerRow.seq).where(
        LedgerRow.request_id == request.id, LedgerRow.kind == EntryKind.EVIDENCE_REFUTED
    )
    if session.scalar(refuted.limit(1)) is not None:
        return Refusal("evidence_refuted", "The custodian found other data than the task reported.", 409)
    if bar.evidence is EvidenceDemand.VERIFIED and request.verified is None:
        sentence = "The custodian is still checking the data; vote once it has."
        return Refusal("evidence_pending", sentence, 409)
    return None


def ask_of(request: RequestRow) -> Ask:
    """Return the ask, with the evidence that the custodian verified in place of the reported one."""
    ask = Ask.from_document(json.loads(request.ask))
    if request.verified is None:
        return ask
    return replace(ask, evidence=ReportedEvidence.from_document(json.loads(request.verified)))


def facts_of(request: RequestRow) -> Facts:
    """Return the facts of a request as they are known now."""
    verified = request.verified is not None
    return Facts.of(ask_of(request), request.dag_id, unattributed=request.unattributed, verified=verified)


def bar_now(request: RequestRow, policy: Policy | None) -> Bar:
    """Return the stricter of the bar pinned at registration and the one in force now."""
    pinned = Pins.from_text(request.pinned).bar
    return stricter(pinned, policy.judge(facts_of(request)) if policy else NOTHING_ALLOWS_IT)


def membership_now() -> Membership:
    """Ask for the members of the active policy's groups; no transaction may be open."""
    policy = run_read(policies.active_policy)
    return resolve(policy) if policy is not None else NOBODY


def with_membership(work: Callable[[Session, Membership], T]) -> T:
    """Run work in a control transaction, with groups of the very policy that is active in it.

    :param work: calls :func:`require_current` once it has read the active policy.
    :raises ConfigurationError: when policies are activated faster than groups can be asked for.
    """
    return while_current(lambda: run_transaction(partial(_swapped, work, membership_now())))


def while_current(work: Callable[[], T]) -> T:
    """Run work that resolves groups and then opens a transaction; again when the policy changed between.

    :raises ConfigurationError: when policies are activated faster than groups can be asked for.
    """
    for _ in range(_TRIES):
        try:
            return work()
        except PolicyReplacedError:
            continue
    raise ConfigurationError("The policy is being replaced again and again.", "Try again in a moment.")


def _swapped(work: Callable[[Session, Membership], T], membership: Membership, session: Session) -> T:
    return work(session, membership)


def require_current(membership: Membership, policy: Policy | None) -> None:
    """Check that the groups are those of the policy; :raises PolicyReplacedError: otherwise."""
    if membership.policy != (policy.digest if policy is not None else ""):
        raise PolicyReplacedError
