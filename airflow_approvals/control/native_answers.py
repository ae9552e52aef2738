"""What an answer on Airflow's own page can be about.

The page shows a place: whatever request stands there when it was loaded. An answer names the place
and nothing of what was shown, so an approval counts only where one content was ever shown there.
Approvals that name their request (on the approvals API, in chat) are bound to it and always count.
A rejection counts in any case: it releases nothing.
"""

from __future__ import annotations

from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control import registration
from airflow_approvals.control.pins import Pins
from airflow_approvals.core.models import Place, Refusal, Verdict
from airflow_approvals.store.session import run_read
from airflow_approvals.store.tables import RequestRow

NOT_REGISTERED = Refusal(
    "not_registered", "The request is still being registered; answer again in a moment.", 409
)
SHOWN_ONLY_NOW = Refusal(
    "not_shown",
    "The request was registered only as you answered, so your page cannot have shown it; "
    "reload it, read it and answer again.",
    409,
)
ASKED_ANEW = Refusal(
    "asked_anew",
    "The data or its destination changed since this gate first asked, and this page does not tell "
    "which of them you saw; approve through the approvals API (REST) or in chat. A rejection counts here.",
    409,
)


def request_answered(place: Place, verdict: Verdict) -> str | Refusal:
    """Return the id of the request that an answer at a place is about, or why it is about none.

    An intake that the dispatcher has not come to yet is registered here and now.
    """
    before = run_read(partial(_newest_id, place=place))
    request_id = registration.request_at(place)
    if request_id is None:
        return NOT_REGISTERED
    if verdict is Verdict.REJECT:
        return request_id
    if request_id != before:
        return SHOWN_ONLY_NOW
    return ASKED_ANEW if run_read(partial(_was_asked_otherwise, place=place)) else request_id


def _newest_id(session: Session, *, place: Place) -> str | None:
    request = registration.newest_request(session, place)
    return request.id if request is not None else None


def _was_asked_otherwise(session: Session, *, place: Place) -> bool:
    """Whether requests of different content ever stood there: any of them may still be on a page."""
    asked = select(RequestRow).where(
        RequestRow.dag_id == place.dag_id,
        RequestRow.run_id == place.run_id,
        RequestRow.task_id == place.task_id,
        RequestRow.map_index == place.map_index,
    )
    return len({_content(request) for request in session.scalars(asked)}) > 1


def _content(request: RequestRow) -> tuple[str, ...]:
    pins = Pins.from_text(request.pinned)
    return request.ask_digest, pins.connection, pins.uri_prefix, pins.assurance, pins.fingerprint
