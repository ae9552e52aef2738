"""``airflow approvals doctor``."""

from __future__ import annotations

import json
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence

from airflow_approvals.doctor.examination import examine, surroundings
from airflow_approvals.doctor.findings import Finding, Severity
from airflow_approvals.errors import ApprovalsError
from airflow_approvals.store.readiness import require_ready

#: Exit codes: 0 nothing critical, 1 something critical, 2 the examination could not be made.
_FAILED = 1


def doctor(args: Namespace) -> None:
    """Print what is wrong with this deployment; exit 1 when anything of it is critical."""
    try:
        if not args.worker:
            require_ready()
        around = surroundings(worker=args.worker)
    except ApprovalsError as error:
        print(f"approvals: {error}")
        raise SystemExit(2) from None
    findings = examine(around)
    print(_json(findings) if args.json else _text(findings, worker=around.worker))
    if any(finding.severity is Severity.CRITICAL for finding in findings):
        raise SystemExit(_FAILED)


def _json(findings: Sequence[Finding]) -> str:
    return json.dumps([finding.to_document() for finding in findings], indent=2)


def _text(findings: Sequence[Finding], *, worker: bool) -> str:
    return "\n\n".join([*map(_block, findings), _summary(findings, worker=worker)])


def _block(finding: Finding) -> str:
    head = f"{finding.severity.upper()}  {finding.what}  [{finding.check}]"
    return f"{head}\n  why: {finding.why}\n  fix: {finding.fix}"


def _summary(findings: Sequence[Finding], *, worker: bool) -> str:
    counts = Counter(finding.severity for finding in findings)
    figures = ", ".join(f"{counts[severity]} {severity}" for severity in Severity)
    where = "the environment of tasks" if worker else "the control plane"
    advice = "" if worker else "\nRun `airflow approvals doctor --worker` where tasks run as well."
    return f"doctor: {where}: {figures}{advice}"
