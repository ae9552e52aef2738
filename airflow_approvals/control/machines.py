"""Accounts that are no person's: they ask, and never vote, whatever groups they are put in."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_approvals.config.settings import Settings
from airflow_approvals.core.models import Person, Refusal, Vote


def refused(person: Person) -> Refusal | None:
    """Return a refusal ``service_account`` (403) when the voter is a program's account."""
    if {person.id, person.name} & listed():
        sentence = "This is a service account; only a person decides, with an account of their own."
        return Refusal("service_account", sentence, 403)
    return None


def listed() -> frozenset[str]:
    """Return the ids and names of accounts that are no person's."""
    return Settings.load().service_accounts


def without_machines(votes: Iterable[Vote]) -> list[Vote]:
    """Return the votes of people: an account may have been listed after it voted."""
    return [vote for vote in votes if refused(vote.person) is None]
