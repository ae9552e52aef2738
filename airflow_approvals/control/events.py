"""Events for programs: queued with what they tell, delivered at least once.

What an event says is written down in the transaction of what happened, so that a late delivery
tells of that moment and not of a later one. A receiver that fails holds up no decision and no other
medium; an event that cannot be delivered is entered in the ledger.
"""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from airflow_approvals.channels.failures import DeliveryRefusedError, RetryLaterError
from airflow_approvals.channels.webhook import MEDIUM, WebhookChannel, WebhookEvent, parse_secrets
from airflow_approvals.config.settings import Settings, read_secret
from airflow_approvals.control import judging
from airflow_approvals.control.outbox import BATCH, MAX_ATTEMPTS, MAX_WAIT
from airflow_approvals.control.pins import Pins
from airflow_approvals.control.views import page_url, show_again
from airflow_approvals.core.models import Person
from airflow_approvals.errors import ChannelError, ConfigurationError
from airflow_approvals.store import ledger
from airflow_approvals.store import outbox as rows
from airflow_approvals.store.ledger import EntryKind
from airflow_approvals.store.session import run_transaction
from airflow_approvals.store.tables import OutboxRow, RequestRow

log = logging.getLogger(__name__)

#: Longer than one delivery can take.
CLAIM = timedelta(seconds=60)


def configured(settings: Settings) -> bool:
    """Whether events are sent: address and secret are both named."""
    return bool(settings.webhook_url and settings.webhook_secret_file)


def channel(settings: Settings) -> WebhookChannel:
    """Return the receiver.

    :raises ConfigurationError: when an option is missing or the secret file cannot be read.
    """
    if settings.webhook_url is None or settings.webhook_secret_file is None:
        raise ConfigurationError("[approvals] webhook_url and webhook_secret_file go together.")
    text = read_secret(settings.webhook_secret_file, "webhook_secret_file")
    return WebhookChannel(settings.webhook_url, parse_secrets(text), time.time)


def enqueue(
    session: Session, request: RequestRow, kind: str, *, sentence: str, by: Person | None, now: datetime
) -> None:
    """Queue an event as things stand now, where a receiver is configured."""
    if configured(Settings.load()):
        data = _data(request, sentence, by)
        rows.add(session, request.id, kind, channel=MEDIUM, text=json.dumps(data), now=now)


def _data(request: RequestRow, sentence: str, by: Person | None) -> dict[str, Any]:
    pins = Pins.from_text(request.pinned)
    return {
        "request": request.id,
        "state": request.state,
        "action": request.action,
        "sink": request.sink,
        "destination": pins.uri_prefix,
        "assurance": pins.assurance,
        "label": request.label,
        "manifest_digest": request.manifest_digest,
        "policy_digest": request.policy_digest,
        "rules": list(pins.bar.rules),
        "dag_id": request.dag_id,
        "run_id": request.run_id,
        "task_id": request.task_id,
        "map_index": request.map_index,
        "expires_at": request.expires_at.isoformat(),
        "page": page_url(request),
        "by": by.name if by is not None else None,
        "sentence": sentence,
        "not_evidence": pins.dev_mode,
    }


def deliver(receiver: WebhookChannel, settings: Settings) -> int:
    """Send what is due, oldest first; return how many events that settled.

    When the receiver asks to wait, all that is for it waits.
    """
    settled = 0
    now = datetime.now(UTC)
    for row_id in run_transaction(partial(rows.due, channel=MEDIUM, now=now, limit=BATCH)):
        row = run_transaction(partial(_claim, row_id=row_id))
        if row is None:
            continue
        try:
            settled += _deliver(receiver, _event(row, settings), row)
        except RetryLaterError as busy:
            run_transaction(partial(_hold, row=row, busy=busy))
            break
    return settled


def _claim(session: Session, row_id: int) -> OutboxRow | None:
    now = datetime.now(UTC)
    return rows.claim(session, row_id, now=now, until=now + CLAIM)


def _event(row: OutboxRow, settings: Settings) -> WebhookEvent:
    source = f"{settings.base_url}/approvals"
    return WebhookEvent(row.id, row.kind, source, row.request_id, row.created_at, json.loads(row.text))


def _deliver(receiver: WebhookChannel, event: WebhookEvent, row: OutboxRow) -> int:
    try:
        receiver.send(event)
    except RetryLaterError:
        raise
    except DeliveryRefusedError as error:
        _fail(row, error.message, for_good=True)
        return 0
    except ChannelError as error:
        _fail(row, error.message)
        return 0
    run_transaction(partial(rows.finish, row_ids=[row.id], state=rows.SENT))
    return 1


def _hold(session: Session, row: OutboxRow, busy: RetryLaterError) -> None:
    until = datetime.now(UTC) + timedelta(seconds=busy.seconds)
    rows.uncount_attempt(session, row.id)
    rows.postpone(session, [row.id], until=until, error=busy.message)
    rows.hold(session, rows.Lane(MEDIUM), until=until)


def _fail(row: OutboxRow, error: str, *, for_good: bool = False) -> None:
    """Write a failure down; once an event is given up, Airflow's page says so."""
    if not (for_good or row.attempts >= MAX_ATTEMPTS):
        run_transaction(partial(_try_again, row=row, error=error))
        return
    run_transaction(partial(_give_up, row=row, error=error))
    members = judging.membership_now()
    run_transaction(partial(show_again, request_id=row.request_id, members=members))


def _try_again(session: Session, row: OutboxRow, error: str) -> None:
    wait = min(timedelta(seconds=2**row.attempts), MAX_WAIT)
    rows.postpone(session, [row.id], until=datetime.now(UTC) + wait, error=error)


def _give_up(session: Session, row: OutboxRow, error: str) -> None:
    log.warning("approvals webhook: gave up on %s of request %s: %s", row.kind, row.request_id, error)
    rows.finish(session, [row.id], rows.FAILED, error=error)
    ledger.append(
        session,
        EntryKind.DELIVERY_FAILED,
        at=datetime.now(UTC),
        request_id=row.request_id,
        details={"medium": MEDIUM, "kind": row.kind, "error": error, "attempts": row.attempts},
    )
