"""Verifying: the custodian reads what a task masked, scans it again and signs what it found."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from functools import partial

from airflow_approvals.control import verification
from airflow_approvals.control.signing import EVIDENCE_TYPE, SigningKey
from airflow_approvals.core.ask import ReportedData, ReportedEvidence
from airflow_approvals.core.evidence import Evidence
from airflow_approvals.core.manifest import Reference
from airflow_approvals.custody.jobs import Job
from airflow_approvals.custody.sources import Sources
from airflow_approvals.data.classifying import classify_masked_copy
from airflow_approvals.data.references import load_manifest
from airflow_approvals.data.release import require_safe_names
from airflow_approvals.detection.engine import Engine
from airflow_approvals.errors import (
    ContractError,
    DataError,
    DetectionError,
    ForbiddenSourceError,
    IntegrityError,
)
from airflow_approvals.store.session import run_transaction

log = logging.getLogger(__name__)

OTHER_DATA = "The staged data is not what its manifest says."
OTHER_SUMMARY = "The task reported another summary of the data than its manifest holds."
NOT_READABLE = "The custodian could not read the staged data."


def verify(job: Job, engine: Engine, key: SigningKey, sources: Sources) -> None:
    """Carry out a verification: it ends accepted or refuted.

    :param engine: an engine of the classification profile, independent of how it was masked.
    :param sources: where it may read.
    :raises DataError: when the data cannot be read now; another attempt may.
    :raises DetectionError: when the scan cannot be carried out.
    """
    try:
        refuted = _check(job, engine, key, sources)
    except ForbiddenSourceError as error:
        log.warning("approvals custodian: request %s: %s", job.request_id, error.message)
        refuted = error.message
    except (IntegrityError, ContractError) as error:
        log.warning("approvals custodian: request %s: %s", job.request_id, error.message)
        refuted = OTHER_DATA
    except DetectionError:
        raise
    except DataError as error:
        if not job.is_last_attempt:
            raise
        log.warning("approvals custodian: request %s: %s", job.request_id, error.message)
        refuted = NOT_READABLE
    if refuted is not None:
        now = datetime.now(UTC)
        run_transaction(
            partial(verification.refute, job_id=job.id, holder=job.holder, because=refuted, now=now)
        )


def _check(job: Job, engine: Engine, key: SigningKey, sources: Sources) -> str | None:
    """Return why the data is not what was reported; ``None`` once what was found is written down."""
    reference = Reference(job.ask.data.uri, job.ask.data.digest)
    place = sources.open(reference.uri)
    manifest = load_manifest(reference, place)
    require_safe_names(manifest)
    if ReportedData.of(reference.uri, manifest) != job.ask.data:
        return OTHER_SUMMARY
    found = classify_masked_copy(manifest, place.parent, engine=engine)
    evidence = ReportedEvidence.of(found)
    run_transaction(
        partial(
            verification.accept,
            job_id=job.id,
            holder=job.holder,
            evidence=evidence,
            jws=_signed(job, found, key),
            now=datetime.now(UTC),
        )
    )
    return None


def _signed(job: Job, found: Evidence, key: SigningKey) -> str:
    claims = {
        "version": 1,
        "request": job.request_id,
        "manifest": job.ask.data.digest,
        "evidence": ReportedEvidence.of(found).to_document(),
    }
    return key.sign(claims, kind=EVIDENCE_TYPE)
