"""Test a gated DAG with pytest, under ``dag.test()``: no server, no scheduler, real decisions.

In a ``conftest.py``::

    pytest_plugins = ["airflow_approvals.testing"]

and in a test::

    from airflow_approvals.testing import approve

    def test_one_owner_releases(approvals):
        approvals.use_policy(Path("policy.yaml"))
        run = approvals.run(dag, requested_by="alice", votes={"gate": [approve("bob")]})
        assert run.outcome("gate") == "approved"
        assert run.state("release") == "success"

Votes go through the decision code of the server, and the rings are up. The people are whoever
the test names, so nothing of it is evidence: every record is stamped ``NOT EVIDENCE``, and a
metadata database whose active policy is meant seriously is refused.
"""

from __future__ import annotations

from airflow_approvals.testing.ballots import Ballot, approve, reject
from airflow_approvals.testing.fixture import Approvals, approvals
from airflow_approvals.testing.runs import GatedRun

__all__ = ["Approvals", "Ballot", "GatedRun", "approvals", "approve", "reject"]
