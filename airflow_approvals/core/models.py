"""The nouns that every room shares."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

NO_MAP_INDEX = -1


@dataclass(frozen=True)
class Place:
    """Where a gate stands: its task in one run. It outlives every task instance id.

    ``map_index`` is -1 for a task that is not mapped, as in Airflow.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = NO_MAP_INDEX

    def __str__(self) -> str:
        index = "" if self.map_index == NO_MAP_INDEX else f"[{self.map_index}]"
        return f"{self.dag_id}.{self.task_id}{index} of run {self.run_id}"


@dataclass(frozen=True)
class Person:
    """A human known to Airflow's auth manager.

    ``id`` is what identifies; ``name`` is what Airflow records as the triggering user.
    """

    id: str
    name: str


class Verdict(enum.StrEnum):
    """What one vote says."""

    APPROVE = "approve"
    REJECT = "reject"


class RequestState(enum.StrEnum):
    """Where a request stands. All but ``pending`` are terminal."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    FORBIDDEN = "forbidden"
    CONFLICT = "conflict"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing can change it any more."""
        return self is not RequestState.PENDING


class GrantState(enum.StrEnum):
    """Where a grant stands. ``spent``, ``expired`` and ``killed`` are separate ends."""

    LIVE = "live"
    BOUND = "bound"
    SPENT = "spent"
    EXPIRED = "expired"
    KILLED = "killed"


class Channel(enum.StrEnum):
    """By which way a vote came in.

    ``ui`` is a browser session with same-origin proof, ``api`` a bearer token.
    """

    UI = "ui"
    API = "api"
    SLACK = "slack"
    TEAMS = "teams"


#: Where an account of another service votes, and counts only when the policy says whose it is.
CHATS = frozenset({Channel.SLACK, Channel.TEAMS})


@dataclass(frozen=True)
class Vote:
    """One person's verdict; one per person and request.

    ``ticket`` is a ticket number that came with it, ``account`` the chat account that it came from; the
    ledger keeps them, the vote's row does not. ``said_at`` is when the person said so, where that may be
    long before ``at``.
    """

    person: Person
    verdict: Verdict
    reason: str
    channel: Channel
    at: datetime
    ticket: str = ""
    account: str = ""
    said_at: datetime | None = None


@dataclass(frozen=True)
class Refusal:
    """A refusal that the caller expects, as a value.

    ``code`` is stable and machine-readable (``self_approval``); ``sentence`` is for people.
    ``status`` is the HTTP status that fits: 403, 404, 409 or 422.
    """

    code: str
    sentence: str
    status: int = 409
