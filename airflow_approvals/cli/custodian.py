"""``airflow approvals custodian``."""

from __future__ import annotations

import logging
import signal
from argparse import Namespace

from airflow_approvals.config.settings import Settings
from airflow_approvals.errors import ApprovalsError


def custodian(args: Namespace) -> None:
    """Verify and release until told to end (SIGTERM or SIGINT), or once with ``--once``."""
    from airflow_approvals.custody.process import Custodian

    logging.basicConfig(level=logging.INFO)
    try:
        loop = Custodian(Settings.load())
        if args.once:
            print(f"approvals custodian: {loop.run_once()} jobs done", flush=True)
            return
        loop.announce()
    except ApprovalsError as error:
        raise SystemExit(f"approvals: {error}") from None
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.request_stop())
    print(f"approvals custodian: running, serves {', '.join(sorted(loop.serves)) or 'nothing'}", flush=True)
    loop.run()
