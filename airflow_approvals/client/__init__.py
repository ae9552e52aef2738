"""A client of the approvals REST API, for people's scripts and for agents that ask.

::

    with ApprovalsClient("https://airflow.example.com", token) as approvals:
        asked = approvals.ask("export_tickets", {"day": "2026-01-01"}, key="tickets-2026-01-01")
        (request,) = approvals.wait_for_requests(asked, timeout=timedelta(minutes=10))
        print(approvals.wait(request.id, timeout=timedelta(hours=8)).state)

Asking is for anybody, programs too. Deciding is for people: a vote counts only with a named person's
own token, and only where the rule says ``api: decide``.
"""

from airflow_approvals.client.api import ApprovalsClient
from airflow_approvals.client.documents import (
    ApprovalRequest,
    Asked,
    CastVote,
    Decision,
    Grant,
    RequestDetail,
)
from airflow_approvals.client.transport import RefusalError

__all__ = [
    "ApprovalRequest",
    "ApprovalsClient",
    "Asked",
    "CastVote",
    "Decision",
    "Grant",
    "RefusalError",
    "RequestDetail",
]
