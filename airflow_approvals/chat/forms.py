"""Forms of a chat: opened for one account, rendered from the request, counted once.

Before a form is opened it is written down by the hash of its one-time number, with the account, the
verdict and the digest of what it shows. When it comes back it counts only for that account, only
while the request still renders to the same, and only once: it is used up in the transaction of the
vote. A callback that is worked on again after a crash finds it used by itself, which is fine.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy.orm import Session

from airflow_approvals.channels import slack_forms
from airflow_approvals.channels.demands import Demands
from airflow_approvals.channels.facts import RequestFacts
from airflow_approvals.channels.slack_interaction import Click, Submission
from airflow_approvals.control.vote_demands import unanswered
from airflow_approvals.control.votes import Check
from airflow_approvals.core.bar import Bar
from airflow_approvals.core.models import Refusal, Verdict
from airflow_approvals.errors import ApprovalsError
from airflow_approvals.store import chat_forms as forms
from airflow_approvals.store.chat_tables import ChatFormRow
from airflow_approvals.store.tables import RequestRow

#: 24 bytes: nobody guesses one, and it fits where a form keeps it.
_NONCE_BYTES = 24

UNKNOWN_FORM = Refusal("unknown_form", "This form was not opened for you and that request.", 404)
TOO_OLD = Refusal(
    "form_too_old", "This form was open for too long. Press the button again for a fresh one.", 422
)
CHANGED = Refusal(
    "form_outdated",
    "The request has changed since this form was opened, so nothing was decided. "
    "Press the button again to see it as it stands.",
    409,
)
ALREADY_SENT = Refusal("form_already_sent", "This form was sent before; it counts once.", 422)
COULD_NOT_OPEN = Refusal(
    "form_not_opened",
    "The form could not be opened in time. Press the button again, or answer in Airflow.",
    422,
)


class Desk(Protocol):
    """Opens forms, as :class:`airflow_approvals.channels.slack_desk.SlackDesk` does."""

    def open_form(self, trigger: str, view: Mapping[str, Any]) -> None:
        """Open a form; :raises ChannelError: when that failed."""


@dataclass(frozen=True)
class FormDeps:
    """What forms rest on: a request's facts, what a voter has to write, and where to open them."""

    facts: Callable[[Session, str], RequestFacts]
    demands: Callable[[Session, str, Verdict], Demands]
    desk: Callable[[], Desk]


def prepare(
    deps: FormDeps, session: Session, click: Click, *, message: str, now: datetime
) -> slack_forms.View:
    """Write down a new form for the account that clicked, and return it."""
    nonce = secrets.token_urlsafe(_NONCE_BYTES)
    view = _render(deps, session, click.request_id, click.verdict, f"{click.request_id}:{nonce}")
    form = ChatFormRow(
        nonce_hash=forms.hash_of(nonce),
        request_id=click.request_id,
        team=click.user_team,
        account=click.user,
        message=message,
        verdict=click.verdict,
        shown=slack_forms.shown(view),
        opened_at=now,
        expires_at=now + forms.LIFE,
        used_by=None,
    )
    forms.put_aside(session, form, now=now)
    return view


def open_form(deps: FormDeps, trigger: str, view: slack_forms.View) -> Refusal | None:
    """Open the form; :returns: :data:`COULD_NOT_OPEN` when it was too late or Slack did not answer."""
    try:
        deps.desk().open_form(trigger, view)
    except ApprovalsError:
        return COULD_NOT_OPEN
    return None


def form_of(session: Session, sent: Submission, *, now: datetime) -> ChatFormRow | Refusal:
    """Return the form that was sent, when it was opened for that account and request."""
    form = forms.find(session, sent.nonce)
    theirs = (sent.request_id, sent.user_team, sent.user)
    if form is None or (form.request_id, form.team, form.account) != theirs:
        return UNKNOWN_FORM
    return form if now < form.expires_at else TOO_OLD


def check_of(deps: FormDeps, sent: Submission, form: ChatFormRow, callback_id: str) -> Check:
    """Return what has to hold, under the locks of the decision, for the form to count."""
    verdict = Verdict(form.verdict)

    def check(session: Session, request: RequestRow, bar: Bar) -> Refusal | None:
        view = _render(deps, session, request.id, verdict, "")
        if slack_forms.shown(view) != form.shown:
            return CHANGED
        demands = deps.demands(session, request.id, verdict)
        if (refusal := unanswered(demands, sent.reason, sent.ticket)) is not None:
            return refusal
        return None if forms.use(session, sent.nonce, callback_id) else ALREADY_SENT

    return check


def was_counted(session: Session, sent: Submission, callback_id: str) -> bool:
    """Whether this very callback has cast its vote before: the process died after that."""
    form = forms.find(session, sent.nonce)
    return form is not None and form.used_by == callback_id


def _render(
    deps: FormDeps, session: Session, request_id: str, verdict: Verdict, reference: str
) -> slack_forms.View:
    facts = deps.facts(session, request_id)
    return slack_forms.render(facts, verdict, deps.demands(session, request_id, verdict), reference)
