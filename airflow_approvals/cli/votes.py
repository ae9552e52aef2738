"""``airflow approvals approve | reject``: one's own vote, by the REST API and with one's own token.

The command needs no database and no configuration of the server: it runs wherever its user sits.
"""

from __future__ import annotations

import getpass
import os
import sys
from argparse import Namespace
from pathlib import Path

from airflow_approvals.channels.facts import ENDPOINT_CHANGED, FIRST_APPROVAL
from airflow_approvals.client import ApprovalsClient, RequestDetail
from airflow_approvals.config.settings import Settings, read_secret
from airflow_approvals.errors import ApprovalsError

TOKEN_VARIABLE = "APPROVALS_TOKEN"  # noqa: S105 - a name


def approve(args: Namespace) -> None:
    """Show a request and vote to approve it."""
    _vote(args, "approve")


def reject(args: Namespace) -> None:
    """Show a request and vote to reject it."""
    _vote(args, "reject")


def _vote(args: Namespace, verdict: str) -> None:
    try:
        with _client(args) as client:
            request = client.request(args.request_id)
            print(_text(request))
            if not (args.yes or _confirmed(verdict, request)):
                raise SystemExit("approvals: nothing was sent.")
            cast = client.approve if verdict == "approve" else client.reject
            print(cast(request.id, args.reason).sentence)
    except ApprovalsError as error:
        raise SystemExit(f"approvals: {error} [{error.code}]") from None


def _client(args: Namespace) -> ApprovalsClient:
    server = args.server or Settings.load().base_url
    if args.username:
        return ApprovalsClient.sign_in(
            server, args.username, getpass.getpass(f"Password of {args.username}: ")
        )
    return ApprovalsClient(server, _token(args))


def _token(args: Namespace) -> str:
    if args.token_file:
        return read_secret(Path(args.token_file), "--token-file")
    if token := os.environ.get(TOKEN_VARIABLE, "").strip():
        return token
    raise SystemExit(
        "approvals: no token. Name a file with --token-file, set APPROVALS_TOKEN, or sign in with --username."
    )


def _confirmed(verdict: str, request: RequestDetail) -> bool:
    if not sys.stdin.isatty():
        raise SystemExit("approvals: add --yes to vote without being asked.")
    short = request.manifest_digest.removeprefix("sha256:")[:12]
    answer = input(f"{verdict.capitalize()} data {short} for {request.sink}? Type {verdict}: ")
    return answer.strip().lower() == verdict


def _text(request: RequestDetail) -> str:
    seats = ", ".join(f"{count} of {group}" for group, count in request.seats)
    barred = ", ".join(sorted({name for name, _ in request.requesters}))
    lines = (
        ("request", f"{request.id} ({request.state})"),
        ("action", request.action),
        ("destination", f"{request.sink} ({request.destination})"),
        ("reached at", request.endpoint or "unknown"),
        *((("CHANGED", ENDPOINT_CHANGED),) if request.endpoint_changed else ()),
        ("assurance", request.assurance),
        ("what is new", "; ".join(request.changes) or FIRST_APPROVAL),
        ("label", request.label),
        ("digest", request.manifest_digest),
        ("gate", f"{request.task_id} of {request.dag_id}, run {request.run_id}"),
        ("needed", seats or "nobody's vote"),
        ("asked for by", barred or "nobody can be named"),
        ("expires", f"{request.expires_at:%Y-%m-%d %H:%M} UTC"),
    )
    return "\n".join(f"{name + ':':<13} {_showable(value)}" for name, value in lines)


def _showable(value: str) -> str:
    """What others wrote must not move the cursor of whoever decides."""
    return "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in " ".join(value.split())
    )
