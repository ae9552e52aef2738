"""Documents of the REST API."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from airflow_approvals.control.deliveries import Delivery
from airflow_approvals.control.pins import Pins
from airflow_approvals.control.requesters import Requesters
from airflow_approvals.control.standing import Wish
from airflow_approvals.core.bar import Standing
from airflow_approvals.store.release_tables import BreakGlassRow, StandingRow
from airflow_approvals.store.tables import GrantRow, RequestRow, VoteRow


class ErrorOut(BaseModel):
    """A refusal: a stable code for programs, a sentence for people."""

    code: str
    detail: str


class StandingIn(BaseModel):
    """How far the approval carries over to later requests that are alike; at most what the rules say."""

    model_config = ConfigDict(extra="forbid")
    uses: int = Field(ge=1, le=10_000)
    within_seconds: int = Field(ge=1, le=366 * 24 * 3600)


class StandingOut(BaseModel):
    """A standing approval. ``uses`` and ``used`` count requests; ``request_id`` was voted on."""

    id: str
    request_id: str
    dag_id: str
    task_id: str
    sink: str
    action: str
    shape: str
    uses: int
    used: int
    not_after: datetime
    state: str
    created_at: datetime
    ended_at: datetime | None
    ended_because: str | None

    @classmethod
    def of(cls, row: StandingRow) -> StandingOut:
        """Return the document of a row."""
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class VoteIn(BaseModel):
    """One person's vote."""

    model_config = ConfigDict(extra="forbid")
    verdict: Literal["approve", "reject"]
    reason: str = Field(default="", max_length=2000)
    standing: Literal[True] | StandingIn | None = None

    @property
    def wish(self) -> Wish | None:
        """What the voter asks to carry over."""
        if isinstance(self.standing, StandingIn):
            return Wish(self.standing.uses, timedelta(seconds=self.standing.within_seconds))
        return Wish() if self.standing else None


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
    ask_digest: str
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


class BreakGlassOut(BaseModel):
    """One use, and its review; ``skipped`` are the people whose votes it went without."""

    request: str
    dag_id: str
    run_id: str
    person: str
    reason: str
    ticket: str
    skipped: list[str]
    used_at: datetime
    review_due_at: datetime
    reviewed_at: datetime | None
    reviewed_by: str | None
    review: str | None

    @classmethod
    def of(cls, use: BreakGlassRow, request: RequestRow) -> BreakGlassOut:
        """Return the document of a use at a request."""
        return cls(
            request=use.request_id,
            dag_id=request.dag_id,
            run_id=request.run_id,
            person=use.person_name,
            reason=use.reason,
            ticket=use.ticket,
            skipped=json.loads(use.skipped),
            used_at=use.used_at,
            review_due_at=use.review_due_at,
            reviewed_at=use.reviewed_at,
            reviewed_by=use.reviewed_by,
            review=use.review,
        )


class DeliveryOut(BaseModel):
    """How one medium (``slack``) stands with a request.

    ``state`` is ``delivered``, ``waiting``, ``failed`` or ``not sent``; ``kind`` names the message that
    says so, with its last ``error`` and its ``attempts``.
    """

    medium: str
    state: str
    kind: str
    error: str | None
    attempts: int


class RequestDetailOut(RequestOut):
    """A request with everything it will be judged by. ``ask`` is as the task reported it.

    ``endpoint`` is where the sink's Connection leads (type, host, port); ``endpoint_changed``: people
    last approved another Connection for this sink. ``last_approved_at`` is when the same DAG was last
    approved for it (``null``: never), and ``changes`` say in words what differs from that.
    """

    ask: dict[str, Any]
    policy_digest: str
    rules: list[str]
    seats: list[SeatOut]
    deciding_channels: list[str]
    destination: str
    assurance: str
    endpoint: str
    endpoint_changed: bool
    last_approved_at: datetime | None
    changes: list[str]
    consumers: list[str]
    standing: StandingIn | None
    unattributed: bool
    requesters: list[RequesterOut]
    requesters_unknown: list[str]
    votes: list[VoteOut]
    grant: GrantOut | None
    break_glass: BreakGlassOut | None
    deliveries: list[DeliveryOut]

    @classmethod
    def whole(
        cls,
        row: RequestRow,
        requesters: Requesters,
        votes: list[VoteRow],
        grant: GrantRow | None,
        use: BreakGlassRow | None,
        told: Sequence[Delivery],
        since: tuple[datetime | None, tuple[str, ...]],
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
            endpoint=pins.endpoint,
            endpoint_changed=pins.endpoint_changed,
            last_approved_at=since[0],
            changes=list(since[1]),
            consumers=list(pins.consumers),
            standing=_allowed(pins.bar.standing),
            unattributed=requesters.unattributed,
            requesters=[RequesterOut(name=name, why=why) for name, why in requesters.members],
            requesters_unknown=list(requesters.notes),
            votes=[_vote(vote) for vote in votes],
            grant=_grant(grant),
            break_glass=BreakGlassOut.of(use, row) if use is not None else None,
            deliveries=[DeliveryOut(**asdict(one)) for one in told],
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
    wait for their request and ``oldest_unregistered`` for how long. ``break_glass_overdue`` counts
    uses that nobody reviewed in time.
    """

    healthy: bool
    problems: list[str]
    lease_age: float | None
    pending: int
    oldest_due: float
    unregistered: int
    oldest_unregistered: float
    undelivered: int
    break_glass_overdue: int


def _allowed(standing: Standing | None) -> StandingIn | None:
    if standing is None:
        return None
    return StandingIn(uses=standing.uses, within_seconds=int(standing.within.total_seconds()))


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
