"""``airflow approvals ledger verify``."""

from __future__ import annotations

from argparse import Namespace

from airflow_approvals.control import bookkeeping
from airflow_approvals.core.chain import MAX_PROBLEMS, ChainReport
from airflow_approvals.errors import ApprovalsError
from airflow_approvals.store import ledger
from airflow_approvals.store.session import read_session


def verify(args: Namespace) -> None:
    """Verify the whole ledger, and that what counts now stands in it.

    Every bad row is named; the exit code is 1 when something does not verify.
    """
    try:
        with read_session() as session:
            report = ledger.verify_ledger(session)
            beside = list(bookkeeping.differences(session)) if report.ok else []
    except ApprovalsError as error:
        raise SystemExit(f"approvals: {error}") from None
    if not report.ok:
        _print_problems(report)
        raise SystemExit(1)
    for sentence in beside:
        print(f"not in the ledger: {sentence}")
    if beside:
        raise SystemExit(1)
    print(f"ledger verifies ({report.size} entries)")


def _print_problems(report: ChainReport) -> None:
    for problem in report.problems:
        print(f"{problem.kind}: {problem.sentence}")
    more = ", and there may be more" if len(report.problems) >= MAX_PROBLEMS else ""
    print(f"ledger does NOT verify: {len(report.problems)} problems in {report.size} entries{more}")
