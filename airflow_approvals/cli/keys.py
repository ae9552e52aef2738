"""``airflow approvals keys``."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from airflow_approvals.control.signing import SigningKey, generate_key_file
from airflow_approvals.errors import ApprovalsError


def generate(args: Namespace) -> None:
    """Write a new private key that only its owner can read, and print its key id."""
    path = Path(args.path)
    try:
        generate_key_file(path)
        print(f"wrote {path}, key id {SigningKey.load(path).kid}")
    except ApprovalsError as error:
        raise SystemExit(f"approvals: {error}") from None
