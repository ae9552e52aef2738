"""``airflow approvals policy explain | test | schema``."""

from __future__ import annotations

from argparse import Namespace

from airflow_approvals.cli.policy import policy_path
from airflow_approvals.config.policy_file import read_policy_file, schema_text
from airflow_approvals.config.settings import Settings
from airflow_approvals.core import explaining
from airflow_approvals.core.classification import Label
from airflow_approvals.core.facts import Facts
from airflow_approvals.core.policy import Policy
from airflow_approvals.errors import ApprovalsError


def explain(args: Namespace) -> None:
    """Say which rules match a request and why the others do not, and what has to happen then."""
    policy = _read(args.policy)
    try:
        label = Label.parse(args.label)
    except ValueError as error:
        raise SystemExit(f"approvals: {error}.") from None
    facts = Facts(args.action, args.sink, label, args.dag, residual=None)
    for line in explaining.explain(policy, facts):
        print(line)


def run_tests(args: Namespace) -> None:
    """Run the tests in a policy file; exit code 1 when one fails."""
    policy = _read(args.path)
    failures = list(policy.failures())
    for failure in failures:
        print(f"failed: {failure}")
    print(f"{len(policy.cases) - len(failures)} of {len(policy.cases)} tests passed")
    if failures:
        raise SystemExit(1)


def schema(args: Namespace) -> None:
    """Print the JSON Schema of a policy file."""
    print(schema_text(), end="")


def _read(path: str | None) -> Policy:
    try:
        return read_policy_file(policy_path(path, Settings.load()))
    except ApprovalsError as error:
        raise SystemExit(f"approvals: {error}") from None
