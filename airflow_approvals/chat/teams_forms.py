"""The second step in Teams: shown to one account, rendered from the request, counted once.

As for the forms of Slack (:mod:`airflow_approvals.chat.forms`): what was shown is written
down by its digest, and counts only for that account, only while the request still renders to the
same, and only once.
"""

from __future__ import annotations

import secrets
from datetime import datetime

from sqlalchemy.orm import Session

from airflow_approvals.channels import teams_cards as cards
from airflow_approvals.channels.demands import Demands
from airflow_approvals.channels.facts import RequestFacts
from airflow_approvals.channels.teams_activity import Press
from airflow_approvals.chat.forms import ALREADY_SENT, CHANGED, TOO_OLD, UNKNOWN_FORM
from airflow_approvals.chat.teams_work import VERDICTS, TeamsDeps
from airflow_approvals.control.vote_demands import unanswered
from airflow_approvals.control.votes import Check
from airflow_approvals.core.bar import Bar
from airflow_approvals.core.models import Refusal, Verdict
from airflow_approvals.store import chat_forms as forms
from airflow_approvals.store.chat_tables import ChatFormRow
from airflow_approvals.store.tables import RequestRow

_NONCE_BYTES = 24


def opened(deps: TeamsDeps, press: Press, notice: str = "") -> cards.Card:
    """Write down a new form for the account that pressed, and return it.

    :param notice: what was wrong with the form before; what was written in it is kept.
    """
    form = cards.Form(secrets.token_urlsafe(_NONCE_BYTES), notice, press.reason, press.ticket)
    verdict = VERDICTS[press.verb]
    facts, demands = deps.run(lambda session: _put_aside(deps, session, press, form.nonce, verdict))
    delivered = cards.Delivered(press.nonce, deps.viewers(facts))
    return cards.confirmation(facts, delivered, verdict, demands, form)


def form_of(session: Session, press: Press, *, now: datetime) -> ChatFormRow | Refusal:
    """Return the form that was sent, when it was opened for that account, request and verdict."""
    form = forms.find(session, press.form)
    theirs = (press.request_id, press.tenant, press.account, press.message, VERDICTS[press.verb].value)
    if form is None or (form.request_id, form.team, form.account, form.message, form.verdict) != theirs:
        return UNKNOWN_FORM
    return form if now < form.expires_at else TOO_OLD


def check_of(deps: TeamsDeps, press: Press, form: ChatFormRow, close: Check) -> Check:
    """Return what has to hold, under the locks of the decision, for the form to count.

    :param close: closes the press, last of all. A press that is worked on again finds the form used
        by itself, which is fine.
    """
    verdict = Verdict(form.verdict)

    def check(session: Session, request: RequestRow, bar: Bar) -> Refusal | None:
        demands = deps.demands(session, request.id, verdict)
        if cards.shown(deps.facts(session, request.id), verdict, demands) != form.shown:
            return CHANGED
        if (refusal := unanswered(demands, press.reason, press.ticket)) is not None:
            return refusal
        used = forms.use(session, press.form, press.inbox_id)
        return close(session, request, bar) if used else ALREADY_SENT

    return check


def _put_aside(
    deps: TeamsDeps, session: Session, press: Press, nonce: str, verdict: Verdict
) -> tuple[RequestFacts, Demands]:
    facts = deps.facts(session, press.request_id)
    demands = deps.demands(session, press.request_id, verdict)
    now = deps.clock()
    form = ChatFormRow(
        nonce_hash=forms.hash_of(nonce),
        request_id=press.request_id,
        team=press.tenant,
        account=press.account,
        message=press.message,
        verdict=verdict,
        shown=cards.shown(facts, verdict, demands),
        opened_at=now,
        expires_at=now + forms.LIFE,
        used_by=None,
    )
    forms.put_aside(session, form, now=now)
    return facts, demands
