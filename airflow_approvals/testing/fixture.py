"""The fixture ``approvals``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.models.connection import Connection
from airflow.models.taskinstance import TaskInstance
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select

from airflow_approvals.config.policy_file import read_policy_file, read_policy_text
from airflow_approvals.control import judging
from airflow_approvals.control.signing import generate_key_file
from airflow_approvals.core.models import Refusal
from airflow_approvals.enforcement import rings
from airflow_approvals.errors import ConfigurationError
from airflow_approvals.store import policies
from airflow_approvals.store.session import run_read, run_transaction
from airflow_approvals.testing.ballots import Ballot
from airflow_approvals.testing.runs import GatedRun, newest_run
from airflow_approvals.testing.voters import Voters


class Approvals:
    """Runs gated DAGs for tests; made by the fixture of the same name."""

    def __init__(self, projection: Path) -> None:
        """:param projection: where DAG parsers look for what the policy protects."""
        self._projection = projection

    def use_policy(self, source: Path | str) -> None:
        """Put a policy in force, for rehearsal: ``dev_mode`` is on whatever the file says.

        No custodian runs under ``dag.test()``, so sinks are taken as run-bound and reported
        evidence is enough.

        :param source: the path of a policy file, or the text of one.
        :raises PolicyError: when the policy does not load.
        """
        given = read_policy_file(source) if isinstance(source, Path) else read_policy_text(source, "policy")
        policy = read_policy_text(_for_rehearsal(given.text), "policy")
        now = datetime.now(UTC)
        self._projection.write_text(json.dumps(policy.projection()), encoding="utf-8")
        run_transaction(lambda s: policies.store_and_activate(s, policy, actor="tests", now=now))

    def run(
        self,
        dag: Any,
        *,
        votes: Mapping[str, Sequence[Ballot]] | None = None,
        requested_by: str = "requester",
        conf: Mapping[str, Any] | None = None,
        timeout: float = 120.0,
    ) -> GatedRun:
        """Run a DAG under ``dag.test()`` while the named people vote.

        A gate whose ballots do not decide it expires at once.

        :param votes: ballots by the task id of their gate, cast in order.
        :param requested_by: who triggered the run, for the separation of duties.
        :param timeout: seconds that the whole run may take.
        :raises TimeoutError: when a gate was still waiting then.
        """
        voters = Voters(dag.dag_id, requested_by, votes or {}, timeout)
        voters.start()
        try:
            dag.test(run_conf=dict(conf or {}))
        finally:
            voters.stop()
        return GatedRun(dag.dag_id, newest_run(dag.dag_id), voters.refusals)


@pytest.fixture
def approvals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Approvals:
    """Test gated DAGs; see :mod:`airflow_approvals.testing`.

    :raises ConfigurationError: on a metadata database whose policy is meant seriously.
    """
    _require_database_for_tests()
    key = tmp_path / "approvals-signing.pem"
    generate_key_file(key)
    monkeypatch.setenv("AIRFLOW__APPROVALS__SIGNING_KEY_FILE", str(key))
    # The stamp of dev_mode is wanted and what it lifts is not: authors test who may not vote.
    monkeypatch.setattr(judging, "is_rehearsal", lambda request, policy: False)
    monkeypatch.setattr(rings, "check_connection", _for_the_running_task(rings.check_connection))
    # In one process with the task, Airflow would send the server's own lookups to the task's API.
    monkeypatch.setattr(Connection, "get_connection_from_secrets", _as_the_server_finds_it)
    projection = tmp_path / "approvals-projection.json"
    monkeypatch.setenv("AIRFLOW__APPROVALS__PROJECTION_FILE", str(projection))
    return Approvals(projection)


def _require_database_for_tests() -> None:
    policy = run_read(policies.active_policy)
    if policy is not None and not policy.dev_mode:
        raise ConfigurationError(
            "The metadata database of this Airflow has a policy in force that is no rehearsal.",
            "Give tests a database of their own: set AIRFLOW_HOME and run `airflow db migrate`.",
        )


def _for_rehearsal(text: str) -> str:
    document = yaml.safe_load(text)
    document["dev_mode"] = True
    for sink in document["sinks"]:
        sink["assurance"] = "run-bound"
    for rule in document["rules"]:
        rule.pop("evidence", None)
    return yaml.safe_dump(document, sort_keys=False)


def _as_the_server_finds_it(conn_id: str, team_name: str | None = None) -> Any:
    from airflow.configuration import ensure_secrets_loaded

    for backend in ensure_secrets_loaded():
        if (connection := backend.get_connection(conn_id=conn_id)) is not None:
            return connection
    raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")


def _for_the_running_task(check: Any) -> Any:
    """Return the credential ring for ``dag.test()``, which presents no task and runs one at a time."""

    def in_process(session: Any, ti_id: str, conn_id: str, **how: Any) -> Refusal | None:
        running = select(TaskInstance.id).where(TaskInstance.state == TaskInstanceState.RUNNING)
        newest = session.scalar(running.order_by(TaskInstance.start_date.desc()).limit(1))
        refusal: Refusal | None = check(session, str(newest or ti_id), conn_id, **how)
        return refusal

    return in_process
