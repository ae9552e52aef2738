"""How telling people goes: per request for whoever looks at one, and all trouble for the operator."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.channels import teams_webhook, webhook
from airflow_approvals.control.reminders import ESCALATE, REMIND
from airflow_approvals.control.sending import REQUEST, UPDATE
from airflow_approvals.core.models import Channel, RequestState
from airflow_approvals.store import outbox as rows
from airflow_approvals.store.tables import DeliveryRow, OutboxRow, RequestRow

DELIVERED, WAITING, FAILED, NOT_SENT = "delivered", "waiting", "failed", "not sent"
#: From so many attempts on, what is still tried counts as trouble.
TROUBLE_AFTER = 3
#: For how long a failure about a closed request is still told.
TOLD_FOR = timedelta(days=1)

_NAMES = {
    Channel.SLACK.value: "Slack",
    Channel.TEAMS.value: "Teams",
    teams_webhook.MEDIUM: "the Teams webhook",
    webhook.MEDIUM: "the webhook",
}
#: What an approver has to know of a message that did not arrive, by its kind. Of the other kinds
#: (the history, a private word) nobody who decides misses anything.
_MISSED = {
    REQUEST: "Nobody was told there.",
    UPDATE: "What stands there is out of date.",
    REMIND: "Nobody was reminded there.",
    ESCALATE: "Nobody else was told there.",
}
_PROGRAMS = "The programs behind it were not told."
_CODE = re.compile(r": ([a-z][a-z0-9_]*)\.(?: |$)")
_MAX_ERROR = 200


@dataclass(frozen=True)
class Delivery:
    """How one medium stands with a request.

    ``state`` is ``delivered``, ``waiting``, ``failed`` or ``not sent`` (it was closed before anybody
    was told); ``kind`` names the message that says so (``request``, ``update``, ``story``, …), with its
    last ``error`` and its ``attempts``.
    """

    medium: str
    state: str
    kind: str
    error: str | None
    attempts: int


def of_request(session: Session, request_id: str) -> tuple[Delivery, ...]:
    """Return how each medium stands with a request, by its name.

    ``failed`` outweighs ``waiting``, and that ``delivered``; what is planned for later and was never
    tried counts for nothing.
    """
    found = select(OutboxRow).where(OutboxRow.request_id == request_id).order_by(OutboxRow.id)
    by_medium: dict[str, list[OutboxRow]] = {}
    for row in session.scalars(found):
        by_medium.setdefault(row.channel, []).append(row)
    stands = {
        delivery.channel
        for delivery in session.scalars(select(DeliveryRow).where(DeliveryRow.request_id == request_id))
        if delivery.message
    }
    return tuple(_of_medium(name, by_medium[name], name in stands) for name in sorted(by_medium))


def _of_medium(medium: str, queued: Sequence[OutboxRow], stands: bool) -> Delivery:
    if (failed := _last(row for row in queued if row.state == rows.FAILED)) is not None:
        return Delivery(medium, FAILED, failed.kind, failed.last_error, failed.attempts)
    if (open_one := _last(row for row in queued if _waits(row))) is not None:
        return Delivery(medium, WAITING, open_one.kind, open_one.last_error, open_one.attempts)
    # An update is done with when there is no message to bring up to date.
    told = stands or any(row.state == rows.SENT and row.kind != UPDATE for row in queued)
    return Delivery(medium, DELIVERED if told else NOT_SENT, "request", None, 0)


def _waits(row: OutboxRow) -> bool:
    return row.state == rows.DUE and (row.due_at <= row.created_at or row.attempts > 0)


def undelivered(session: Session, request_id: str) -> tuple[str, ...]:
    """Return a sentence for each medium that gave up on telling people something they decide by."""
    found = select(OutboxRow).where(OutboxRow.request_id == request_id).order_by(OutboxRow.id)
    newest: dict[tuple[str, str], OutboxRow] = {}
    for row in session.scalars(found):
        if row.state in (rows.SENT, rows.FAILED) and (row.kind in _MISSED or row.channel == webhook.MEDIUM):
            newest[row.channel, row.kind] = row
    failed = [row for row in newest.values() if row.state == rows.FAILED]
    return tuple(_in_words(row) for row in sorted(failed, key=_order))


def _order(row: OutboxRow) -> tuple[str, int]:
    return row.channel, row.id


def _in_words(row: OutboxRow) -> str:
    error = row.last_error or "for an unknown reason"
    code = _CODE.search(error)
    why = code[1] if code is not None else error[:_MAX_ERROR].rstrip(".")
    missed = _PROGRAMS if row.channel == webhook.MEDIUM else _MISSED[row.kind]
    return f"{_NAMES.get(row.channel, row.channel)} ({why}). {missed}"


def _last(found: Iterable[OutboxRow]) -> OutboxRow | None:
    return next(iter(sorted(found, key=lambda row: -row.id)), None)


@dataclass(frozen=True)
class Trouble:
    """Messages of one medium that fail for one reason: how many, of how many requests."""

    medium: str
    error: str
    messages: int
    requests: int
    given_up: bool


def troubles(session: Session, *, now: datetime) -> list[Trouble]:
    """Return what could not be delivered, by medium and reason.

    Given up: for open requests, and for a day also for others. Still tried: from the third attempt on.
    """
    pending = select(RequestRow.id).where(RequestRow.state == RequestState.PENDING)
    told = (OutboxRow.request_id.in_(pending)) | (OutboxRow.created_at > now - TOLD_FOR)
    still = (OutboxRow.state == rows.DUE) & (OutboxRow.attempts >= TROUBLE_AFTER)
    found = select(OutboxRow).where(((OutboxRow.state == rows.FAILED) & told) | still)
    groups: dict[tuple[str, str, bool], list[OutboxRow]] = {}
    for row in session.scalars(found.order_by(OutboxRow.id)):
        key = (row.channel, row.last_error or "for an unknown reason", row.state == rows.FAILED)
        groups.setdefault(key, []).append(row)
    return [
        Trouble(medium, error, len(kept), len({row.request_id for row in kept}), given_up)
        for (medium, error, given_up), kept in sorted(groups.items())
    ]
