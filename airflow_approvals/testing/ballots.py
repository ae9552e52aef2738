"""Ballots: how the people of a test will vote."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_approvals.core.models import Channel, Person, Verdict


@dataclass(frozen=True)
class Ballot:
    """One vote to be cast as soon as the gate's request is open."""

    person: Person
    verdict: Verdict
    reason: str
    channel: Channel


def approve(name: str, *, reason: str = "looked at it", channel: str = "ui") -> Ballot:
    """Return an approval by the person of that Airflow user name.

    :param channel: ``ui``, ``api``, ``slack`` or ``teams``; the policy says which of them decide.
    :raises ValueError: for another channel.
    """
    return Ballot(Person(name, name), Verdict.APPROVE, reason, Channel(channel))


def reject(name: str, *, reason: str = "looked at it", channel: str = "ui") -> Ballot:
    """Return a rejection; see :func:`approve`."""
    return Ballot(Person(name, name), Verdict.REJECT, reason, Channel(channel))
