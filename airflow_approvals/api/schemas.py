"""Documents of the REST API."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from airflow_approvals.control.pins import Pins
from airflow_approvals.control.requesters import Requesters
from airflow_approvals.store.tables import GrantRow, RequestRow, VoteRow


class ErrorOut(BaseModel):
    """A refusal: a stable code for programs, a sentence for people."""

    code: str
    detail: str


class VoteIn(BaseModel):
    """One person's vote."""

    model_config = ConfigDict(extra="forbid")
    verdict: Literal["approve", "reject"]
    reason: str = Field(default="", max_length=2000)


class VoteOut(BaseModel):
    """A vote that was cast."""

    person: str
    verdict: str
    reason: str
    channel: str
    at: datetime


class RequesterOut(BaseModel):
    """A member of the requester set, and why."""

    name: str
    why: str


class SeatOut(BaseModel):
    """So many people of a group have to agree."""

    group: str
    count: int


class GrantOut(BaseModel):
    """The grant that followed, and where its life has got to."""

    id: str
    state: str
    jws: str
    not_after: datetime
    ended_because: str | None


class RequestOut(BaseModel):
    """A request in a list."""

    id: str
    state: str
    action: str
    sink: str
    label: str
    manifest_digest: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    decided_because: str | None

    @classmethod
    def of(cls, row: RequestRow) -> RequestOut:
        """Return the document of a row."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class RequestDetailOut(RequestOut):
    """A request with everything it will be judged by. ``ask`` is as the task reported it."""

    ask: dict[str, Any]
    policy_digest: str
    rules: list[str]
    seats: list[SeatOut]
    deciding_channels: list[str]
    destination: str
    assurance: str
    consumers: list[str]
    unattributed: bool
    requesters: list[RequesterOut]
    votes: list[VoteOut]
    grant: GrantOut | None

    @classmethod
    def whole(
        cls, row: RequestRow, requesters: Requesters, votes: list[VoteRow], grant: GrantRow | None
    ) -> RequestDetailOut:
        """Return the document of a row with what belongs to it."""
        pins = Pins.from_text(row.pinned)
        return cls(
            **RequestOut.of(row).model_dump(),
            ask=json.loads(row.ask),
            policy_digest=row.policy_digest,
            rules=list(pins.bar.rules),
            seats=[SeatOut(group=seat.group, count=seat.count) for seat in pins.bar.seats],
            deciding_channels=sorted(channel.value for channel in pins.bar.deciding),
            destination=pins.uri_prefix,
            assurance=pins.assurance,
            consumers=list(pins.consumers),
            unattributed=requesters.unattributed,
            requesters=[RequesterOut(name=name, why=why) for name, why in requesters.members],
            votes=[_vote(vote) for vote in votes],
            grant=_grant(grant),
        )


class RequestPage(BaseModel):
    """A page of requests, newest first; ``next`` is the ``after`` of the next page."""

    requests: list[RequestOut]
    next: str | None


class DecidedOut(BaseModel):
    """What a vote or a withdrawal did."""

    request: str
    state: str
    sentence: str


class LedgerPage(BaseModel):
    """Ledger entries in sequence; ``next`` is the ``after`` of the next page."""

    entries: list[dict[str, Any]]
    next: int | None


class HealthOut(BaseModel):
    """How the control plane is. Ages are in seconds.

    ``lease_age`` is how long ago the dispatcher last renewed its lease, ``oldest_due`` how long
    the most overdue request has been waiting to be closed, ``unregistered`` how many intakes
    wait for their request and ``oldest_unregistered`` for how long.
    """

    healthy: bool
    problems: list[str]
    lease_age: float | None
    pending: int
    oldest_due: float
    unregistered: int
    oldest_unregistered: float
    undelivered: int


def _vote(vote: VoteRow) -> VoteOut:
    return VoteOut(
        person=vote.person_name, verdict=vote.verdict, reason=vote.reason, channel=vote.channel, at=vote.at
    )


def _grant(grant: GrantRow | None) -> GrantOut | None:
    if grant is None:
        return None
    return GrantOut(
        id=grant.id,
        state=grant.state,
        jws=grant.jws,
        not_after=grant.not_after,
        ended_because=grant.ended_because,
    )
