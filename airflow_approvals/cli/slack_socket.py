"""``airflow approvals slack socket``."""

from __future__ import annotations

import logging
import signal
from argparse import Namespace

from airflow_approvals.config.settings import Settings
from airflow_approvals.errors import ApprovalsError


def socket(args: Namespace) -> None:
    """Hold Slack's sockets until told to end (SIGTERM or SIGINT)."""
    from airflow_approvals.chat.slack_socket import SocketProcess

    logging.basicConfig(level=logging.INFO)
    try:
        process = SocketProcess(Settings.load())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: process.request_stop())
        print("approvals slack socket: running", flush=True)
        process.run()
    except ApprovalsError as error:
        raise SystemExit(f"approvals: {error}") from None
