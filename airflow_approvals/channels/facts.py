"""The facts of a request, as every channel shows them.

Facts come from the server or are marked as reported by a task; author's text is kept apart,
because it is shown quoted and below. Nothing in here is ever a value from the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from airflow_approvals.core.models import NO_MAP_INDEX, Channel, RequestState, Verdict


class VoteFact(NamedTuple):
    """One vote, as shown: the voter's name, what they said, by which way, and when (aware)."""

    name: str
    verdict: Verdict
    channel: Channel
    at: datetime


@dataclass(frozen=True)
class RequestFacts:
    """What an approver sees.

    ``destination`` is the URI prefix of the sink, ``size`` is in bytes, ``counts`` are (column,
    entity type, count) of what was masked, ``residual`` is (entity type, count) of what the
    second scan still found, ``coverage`` is (scanned, total) in cells, ``not_scanned`` the
    number of objects nobody looked into. ``who_may_decide`` are names, the requesters already
    taken out. ``reported_by`` names the task and the DAG version that reported the data.
    ``author_reason`` and ``author_body`` are the DAG author's words and never facts. ``deciding``
    are the ways by which a vote counts; in the others the request can only be seen.
    """

    request_id: str
    subject: str
    action: str
    sink: str
    destination: str
    label: str
    manifest_digest: str
    object_count: int
    size: int
    rows: int
    counts: tuple[tuple[str, str, int], ...]
    residual: tuple[tuple[str, int], ...]
    coverage: tuple[int, int]
    not_scanned: int
    requesters: tuple[str, ...]
    unattributed: bool
    rules: tuple[str, ...]
    seats: tuple[str, ...]
    who_may_decide: tuple[str, ...]
    expires_at: datetime
    state: RequestState
    votes: tuple[VoteFact, ...]
    decided_because: str | None
    author_reason: str | None
    author_body: str | None
    page_url: str
    dag_id: str
    run_id: str
    task_id: str
    reported_by: str
    map_index: int = NO_MAP_INDEX
    deciding: frozenset[Channel] = frozenset(Channel)
