"""The facts of a request, as every channel shows them.

Facts come from the server or are marked as reported by a task; author's text is kept apart,
because it is shown quoted and below. Nothing in here is ever a value from the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from airflow_approvals.core.models import NO_MAP_INDEX, Channel, RequestState, Verdict

ENDPOINT_CHANGED = "The destination's Connection changed since the last approval for this sink."
_ASSURANCES = {
    "content-bound": "the custodian copies exactly these bytes, and no task sees the credential",
    "run-bound": "a task of this run gets the credential, and what it sends is its author's word",
}
#: What stands in place of changes when nothing was approved before.
FIRST_APPROVAL = "nothing was approved before: the first approval of this DAG for this sink"


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
    number of objects nobody looked into. ``requesters`` are names, each with why, and
    ``requester_notes`` say who behind the run is not known. ``who_may_decide`` are names, the
    requesters already taken out. ``reported_by`` names the task and the DAG version that reported the data.
    ``author_reason`` and ``author_body`` are the DAG author's words and never facts. ``deciding``
    are the ways by which a vote counts; in the others the request can only be seen.
    ``break_glass`` says that one person opened the gate in an emergency. ``assurance`` is what an
    approval vouches for, ``endpoint`` where the sink's Connection leads, and ``endpoint_changed``
    that people last approved another Connection for this sink. ``last_approved_at`` is when the
    same DAG was last approved for this sink (``None``: never), and ``changes`` are what differs
    from that, in words.
    ``teams_accounts`` are the Entra object ids of those whom a view of their own serves: requesters
    and whoever may decide.
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
    requester_notes: tuple[str, ...] = ()
    break_glass: bool = False
    assurance: str = ""
    endpoint: str = ""
    endpoint_changed: bool = False
    last_approved_at: datetime | None = None
    changes: tuple[str, ...] = ()
    teams_accounts: tuple[str, ...] = ()

    @property
    def assurance_in_words(self) -> str:
        """What an approval of this request vouches for, and what it does not."""
        meaning = _ASSURANCES.get(self.assurance)
        return f"{self.assurance}: {meaning}" if meaning else self.assurance or "none: the sink is not known"

    @property
    def compared_with(self) -> str:
        """What :attr:`changes` are changes of, as a headline."""
        if self.last_approved_at is None:
            return "Since the last approval"
        return f"Since the approval of {self.last_approved_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
