"""Releasing: the custodian copies what was approved, and shows it only if it still may.

1. *begin*: may it be released at all; where it is prepared is remembered. 2. *prepare*: each
object is read once, hashed, and copied to where nobody sees it. 3. *intend*: under the locks, is
everything still as approved; committed, there is no way back. 4. *publish*: made visible.
5. *finish*: receipt, grant and gate in one transaction. A kill before 3 is undone by the next
attempt, a kill after it is finished.
"""

from __future__ import annotations

import json
import logging
import secrets
from datetime import UTC, datetime
from functools import partial

from sqlalchemy.orm import Session

from airflow_approvals.control import faults, judging, releases
from airflow_approvals.control.signing import SigningKey
from airflow_approvals.core.digest import document_digest
from airflow_approvals.core.grant import release_folder
from airflow_approvals.core.manifest import Reference
from airflow_approvals.custody.jobs import Job
from airflow_approvals.custody.sources import Sources
from airflow_approvals.data.prepared_release import Attempt
from airflow_approvals.data.receipt import Receipt
from airflow_approvals.data.references import load_manifest
from airflow_approvals.data.signed_receipt import RECEIPT_TYPE, SignedReceipt
from airflow_approvals.errors import ContractError, DataError, ForbiddenSourceError, IntegrityError
from airflow_approvals.identity.directory import Membership
from airflow_approvals.seams import airflow_seams
from airflow_approvals.store.session import run_read, run_transaction

log = logging.getLogger(__name__)

OTHER_DATA = "The staged data is no longer what was approved, so nothing was released."
NOT_COPIED = "The custodian could not copy the data to the sink."
NOT_SHOWN = "The custodian could not make the copy visible at the sink."


def release(job: Job, key: SigningKey, sources: Sources) -> None:
    """Carry out a release: it ends published or failed.

    :param sources: where it may read.
    :raises DataError: when reading or writing failed now; another attempt may do.
    """
    try:
        because = _finish_or_release(job, key, sources)
    except ForbiddenSourceError as error:
        log.warning("approvals custodian: request %s: %s", job.request_id, error.message)
        because = f"{error.message} Nothing was released."
    except _GoneError as gone:
        log.warning("approvals custodian: request %s: %s", job.request_id, gone)
        _fail(job, NOT_SHOWN, gone=True)
        return
    except (IntegrityError, ContractError) as error:
        log.warning("approvals custodian: request %s: %s", job.request_id, error.message)
        because = OTHER_DATA
    except DataError as error:
        if not job.is_last_attempt:
            raise
        log.warning("approvals custodian: request %s: %s", job.request_id, error.message)
        if not _fail(job, NOT_COPIED):
            # Once the intent stands the copy may be visible, and to say that it failed could be a lie.
            _leave_open(job)
            raise
        return
    if because is not None and not _fail(job, because) and job.publishing:
        raise DataError(f"The release of request {job.request_id} can be neither finished nor given up now.")


class _GoneError(Exception):
    """Nothing stands at the sink, seen or unseen, although the intent to publish is committed."""


def _finish_or_release(job: Job, key: SigningKey, sources: Sources) -> str | None:
    if not job.publishing:
        return _release(job, key, sources)
    # What a custodian that died had decided to publish.
    _publish(job, _attempt_of(job.intent or ""), job.result or "", key)
    return None


def _release(job: Job, key: SigningKey, sources: Sources) -> str | None:
    """Return why nothing may be released, ``None`` once it is."""
    if job.intent is not None:
        _attempt_of(job.intent).take_back()
    destination = release_folder(job.uri_prefix, job.ask.data.digest, job.grant)
    attempt = Attempt(destination, job.connection, secrets.token_hex(4))
    parts = airflow_seams.connection_parts(job.connection)
    if (objection := _may_begin(job, attempt, parts)) is not None:
        return objection
    receipt = _prepare(job, attempt, sources)
    digest = document_digest(receipt.to_document())
    if (objection := _may_be_seen(job, digest, parts)) is not None:
        # Here as well as in the clearing up: when another custodian took over, it knows nothing of this.
        attempt.take_back()
        return objection
    _publish(job, attempt, digest, key)
    return None


def _may_begin(job: Job, attempt: Attempt, parts: tuple[str, ...] | None) -> str | None:
    def work(session: Session, members: Membership) -> str | None:
        now = datetime.now(UTC)
        where = attempt.to_document()
        return releases.begin(session, job.id, job.holder, members, where, now=now, lookup=lambda _: parts)

    return judging.with_membership(work)


def _prepare(job: Job, attempt: Attempt, sources: Sources) -> Receipt:
    reference = Reference(job.ask.data.uri, job.ask.data.digest)
    place = sources.open(reference.uri)
    return attempt.prepare(load_manifest(reference, place), source=place.parent, grant=job.grant)


def _may_be_seen(job: Job, digest: str, parts: tuple[str, ...] | None) -> str | None:
    def work(session: Session, members: Membership) -> str | None:
        now = datetime.now(UTC)
        return releases.intend(session, job.id, job.holder, members, digest, now=now, lookup=lambda _: parts)

    return judging.with_membership(work)


def _publish(job: Job, attempt: Attempt, digest: str, key: SigningKey) -> None:
    try:
        receipt = attempt.publish(digest)
    except IntegrityError as error:
        raise _GoneError(error.message) from None
    signed = SignedReceipt.of(receipt, job.sink)
    token = key.sign(signed.to_document(), kind=RECEIPT_TYPE)
    objects = [(released.uri, released.sha256, released.size) for released in receipt.objects]
    run_transaction(
        partial(
            releases.finish,
            job_id=job.id,
            objects=objects,
            signed={"jws": token, "key": key.jwks()["keys"][0]},
            now=datetime.now(UTC),
        )
    )


def _fail(job: Job, because: str, *, gone: bool = False) -> bool:
    now = datetime.now(UTC)
    failed = run_transaction(
        lambda session: releases.fail(session, job.id, job.holder, because, gone=gone, now=now),
    )
    clear_up()
    return failed


def _leave_open(job: Job) -> None:
    run_transaction(partial(releases.leave_open, job_id=job.id, holder=job.holder, now=datetime.now(UTC)))


def clear_up(*, limit: int = 20) -> None:
    """Remove what failed releases left at their sinks; what cannot be removed now, the next time."""
    for job_id, intent in run_read(partial(releases.leftovers, limit=limit)):
        try:
            _attempt_of(intent).take_back()
            run_transaction(partial(releases.forget_intent, job_id=job_id))
        except Exception as error:
            faults.report("remove what a failed release left", error)


def _attempt_of(intent: str) -> Attempt:
    return Attempt.from_document(json.loads(intent))
