"""The votes, counted again at the moment a grant is about to open something.

An approval is not a fact of the past: who approved may have left their group since, or have
shaped the run since, and the policy may ask for more by now.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from airflow_approvals.control import judging, machines, standing
from airflow_approvals.core.models import Person, Refusal, RequestState
from airflow_approvals.core.policy import Policy
from airflow_approvals.identity.directory import Membership
from airflow_approvals.store import policies
from airflow_approvals.store.release_tables import BreakGlassRow
from airflow_approvals.store.tables import RequestRow


def still_satisfied(
    session: Session, request: RequestRow, membership: Membership, now: datetime
) -> Refusal | None:
    """Return why the recorded votes would not be enough now, ``None`` when they would.

    They are counted with the groups as they are now, under the stricter of the pinned and the
    active policy, without anybody who is known to have started or shaped the run, then or since.
    Nothing is written; the grant stays as it is, and opens once the votes are enough again.

    :param request: an approved request, locked or of a locked run.
    :param membership: resolved before this transaction; see :func:`judging.with_membership`.
    :returns: a refusal ``no_longer_satisfied`` or one about the evidence, 409.
    :raises PolicyReplacedError: when the groups are those of another policy than the active one.
    """
    terms = judging.terms_now(session, request, membership)
    if forbidden := judging.why_forbidden(request, terms):
        return _refusal(forbidden)
    if lacking := judging.lacking_evidence(session, request, terms.bar):
        return lacking
    if (emergency := session.get(BreakGlassRow, request.id)) is not None:
        return _lapsed(emergency, policies.active_policy(session), terms, now)
    result = terms.count(standing.votes_behind(session, request))
    if result.state is RequestState.APPROVED:
        return None
    why = result.because[:1].lower() + result.because[1:]
    return _refusal(f"The votes for request {request.id} are no longer enough: {why}")


def unresolved(session: Session, request: RequestRow, membership: Membership) -> list[str]:
    """Return the groups the request depends on that cannot be asked now, so that no count is final."""
    policy = policies.active_policy(session)
    needed = {seat.group for seat in judging.bar_now(request, policy).seats}
    if session.get(BreakGlassRow, request.id) is not None and policy and policy.break_glass:
        needed = {policy.break_glass.group}
    return sorted(needed & set(membership.unresolved))


def _lapsed(
    emergency: BreakGlassRow, policy: Policy | None, terms: judging.Terms, now: datetime
) -> Refusal | None:
    """An emergency stands in for votes: of one who may break the glass still, until its review is overdue."""
    if lost := _lost_right(emergency, policy, terms.membership):
        return _refusal(lost)
    if terms.barred & {emergency.person_id, emergency.person_name}:
        return _refusal("Whoever opened this gate in an emergency has shaped the run since.")
    if machines.refused(Person(emergency.person_id, emergency.person_name)) is not None:
        return _refusal("Whoever opened this gate in an emergency is a service account by now.")
    if emergency.reviewed_at is not None or now < emergency.review_due_at:
        return None
    return _refusal("The emergency opening of this gate was not reviewed in time.")


def _lost_right(emergency: BreakGlassRow, policy: Policy | None, members: Membership) -> str | None:
    """Return why whoever opened the gate could not do it now, as far as the policy says."""
    if policy is None or policy.break_glass is None:
        return "This gate was opened in an emergency, and the policy in force has no break-glass."
    group = policy.break_glass.group
    if group in members.unresolved:
        return f"Group {group}, whose people open gates in an emergency, cannot be asked now."
    if not {emergency.person_id, emergency.person_name} & members.groups.get(group, frozenset()):
        return f"Whoever opened this gate in an emergency is no longer in group {group}."
    return None


def _refusal(sentence: str) -> Refusal:
    return Refusal("no_longer_satisfied", sentence, 409)
