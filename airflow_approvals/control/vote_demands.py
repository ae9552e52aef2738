"""What a voter has to write, by the bar as it stands, and what of it is missing in a form."""

from __future__ import annotations

from sqlalchemy.orm import Session

from airflow_approvals.channels.demands import MAX_TICKET, Demands
from airflow_approvals.control import judging
from airflow_approvals.core.models import Refusal, Verdict
from airflow_approvals.core.wording import first_unmatched
from airflow_approvals.store import policies
from airflow_approvals.store.tables import RequestRow

SAY_WHY = Refusal("reason_required", "The rule asks for a reason.", 422)
TICKET_TOO_LONG = Refusal("ticket_too_long", f"The ticket is longer than {MAX_TICKET} characters.", 422)
_TICKET = "The ticket has to be of the form {0}."


def demands_of(session: Session, request_id: str, verdict: Verdict) -> Demands:
    """Return what a voter has to write, by the bar as it stands now."""
    request = session.get_one(RequestRow, request_id)
    bar = judging.bar_now(request, policies.active_policy(session))
    approves = verdict is Verdict.APPROVE
    return Demands(
        reason=bar.approver_reason,
        # Where approvals have to say why, a rejection has to as well, in whatever form.
        reason_needed=first_unmatched(bar.approver_reason, "") is not None
        if approves
        else bool(bar.approver_reason),
        ticket=bar.ticket if approves else (),
        author_ticket=judging.ask_of(request).ticket or "",
    )


def unanswered(demands: Demands, reason: str, ticket: str) -> Refusal | None:
    """Return what a form lacks; whether the reason of an approval fits, ``decide()`` looks at."""
    if demands.reason_needed and not reason.strip():
        return SAY_WHY
    if len(ticket) > MAX_TICKET:
        return TICKET_TOO_LONG
    if demands.ticket and (pattern := first_unmatched(demands.ticket, ticket)) is not None:
        return Refusal("ticket_required", _TICKET.format(pattern), 422)
    return None
