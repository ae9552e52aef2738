"""Facts of an ordinary request, to vary in tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from airflow_approvals.channels.facts import RequestFacts
from airflow_approvals.core.models import RequestState

DIGEST = "sha256:0123456789ab" + "c" * 52


def some_facts(**changes: Any) -> RequestFacts:
    facts = RequestFacts(
        request_id="req-1",
        subject="Export to partner",
        action="export",
        sink="partner-bucket",
        destination="s3://partner/in/",
        label="confidential",
        manifest_digest=DIGEST,
        object_count=2,
        size=204800,
        rows=500,
        counts=(("email", "EMAIL_ADDRESS", 500), ("text", "PHONE_NUMBER", 12)),
        residual=(("PERSON", 3),),
        coverage=(4990, 5000),
        not_scanned=1,
        requesters=("alice",),
        unattributed=False,
        rules=("confidential-needs-a-steward",),
        seats=("1 of data-stewards",),
        who_may_decide=("bob", "carol"),
        expires_at=datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
        state=RequestState.PENDING,
        votes=(),
        decided_because=None,
        author_reason="The partner needs the tickets.",
        author_body=None,
        page_url="http://localhost:8080/dags/d/runs/r%3A1/tasks/gate?tab=required_actions&x=1",
        dag_id="secure_llm_export",
        run_id="manual__2026-02-28",
        task_id="gate",
        reported_by="task classify of DAG version 3",
        assurance="run-bound",
        endpoint="sftp://drop.example:22",
    )
    return replace(facts, **changes)
