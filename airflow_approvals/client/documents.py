"""What the server's documents are to a program: frozen values, instants aware.

Fields that a newer server adds are left out; one that is missing or of another kind is a
:class:`~airflow_approvals.errors.ContractError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Self

from airflow_approvals.errors import ContractError

PENDING = "pending"


@dataclass(frozen=True)
class CastVote:
    """One person's vote."""

    person: str
    verdict: str
    reason: str
    channel: str
    at: datetime

    @classmethod
    def read(cls, document: Any) -> Self:
        """Read the server's document."""
        found = _known(cls, document)
        return cls(**{**found, "at": _instant(found, "at")})


@dataclass(frozen=True)
class Grant:
    """The permission that followed an approval. ``jws`` verifies with the server's public keys."""

    id: str
    state: str
    jws: str
    not_after: datetime
    ended_because: str | None

    @classmethod
    def read(cls, document: Any) -> Self:
        """Read the server's document."""
        found = _known(cls, document)
        return cls(**{**found, "not_after": _instant(found, "not_after")})


@dataclass(frozen=True)
class ApprovalRequest:
    """A request as a list shows it. ``map_index`` is -1 for a gate that is not mapped."""

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

    @property
    def is_final(self) -> bool:
        """Whether nothing can change its state any more."""
        return self.state != PENDING

    @classmethod
    def read(cls, document: Any) -> Self:
        """Read the server's document."""
        return cls(**_of_request(cls, document))


@dataclass(frozen=True)
class RequestDetail(ApprovalRequest):
    """A request with what it is judged by.

    ``destination`` is a URI prefix, ``endpoint`` where the sink's Connection leads, ``endpoint_changed``
    that people last approved another Connection for the sink, ``changes`` what differs from the last
    approval of the DAG for the sink (``last_approved_at``), ``seats`` are (group, how many), ``requesters``
    are (name, why) of those who may not decide, ``grant`` is there once it was approved.
    """

    destination: str
    assurance: str
    endpoint: str
    endpoint_changed: bool
    last_approved_at: datetime | None
    changes: tuple[str, ...]
    rules: tuple[str, ...]
    seats: tuple[tuple[str, int], ...]
    deciding_channels: tuple[str, ...]
    requesters: tuple[tuple[str, str], ...]
    votes: tuple[CastVote, ...]
    grant: Grant | None

    @classmethod
    def read(cls, document: Any) -> Self:
        """Read the server's document."""
        found = _of_request(cls, document)
        try:
            found["rules"] = tuple(found["rules"])
            found["changes"] = tuple(found["changes"])
            found["deciding_channels"] = tuple(found["deciding_channels"])
            found["seats"] = tuple((seat["group"], seat["count"]) for seat in found["seats"])
            found["requesters"] = tuple((one["name"], one["why"]) for one in found["requesters"])
        except (TypeError, KeyError):
            raise _unreadable(cls) from None
        if found["last_approved_at"] is not None:
            found["last_approved_at"] = _instant(found, "last_approved_at")
        found["votes"] = tuple(CastVote.read(vote) for vote in found["votes"])
        found["grant"] = Grant.read(found["grant"]) if found["grant"] is not None else None
        return cls(**found)


@dataclass(frozen=True)
class Asked:
    """The run that asks; ``again`` when the same key had started it before."""

    dag_id: str
    run_id: str
    again: bool

    @classmethod
    def read(cls, document: Any) -> Self:
        """Read the server's document."""
        return cls(**_known(cls, document))


@dataclass(frozen=True)
class Decision:
    """What a vote did: where the request stands after it, and why, in a sentence."""

    request: str
    state: str
    sentence: str

    @classmethod
    def read(cls, document: Any) -> Self:
        """Read the server's document."""
        return cls(**_known(cls, document))


def _of_request(cls: type[ApprovalRequest], document: Any) -> dict[str, Any]:
    found = _known(cls, document)
    for name in ("created_at", "expires_at"):
        found[name] = _instant(found, name)
    found["decided_at"] = _instant(found, "decided_at") if found["decided_at"] is not None else None
    return found


def _known(cls: type[Any], document: Any) -> dict[str, Any]:
    try:
        return {field.name: document[field.name] for field in fields(cls)}
    except (TypeError, KeyError):
        raise _unreadable(cls) from None


def _instant(found: Mapping[str, Any], name: str) -> datetime:
    try:
        instant = datetime.fromisoformat(found[name])
    except (TypeError, ValueError):
        raise ContractError(f"The server's {name} is no instant.") from None
    if instant.tzinfo is None:
        raise ContractError(f"The server's {name} names no time zone.")
    return instant


def _unreadable(cls: type[Any]) -> ContractError:
    return ContractError(
        f"The server's answer is not a {cls.__name__}.",
        "Check that the address is an Airflow with airflow-approvals of this version or newer.",
    )
