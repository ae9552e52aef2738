"""Test cases that a policy file carries: facts, and what the policy must say about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from airflow_approvals.core.bar import Bar, Effect
from airflow_approvals.core.facts import Facts
from airflow_approvals.core.seats import Seat


@dataclass(frozen=True)
class Case:
    """One test case; ``seats`` and ``rules`` are not looked at where they are ``None``."""

    name: str
    facts: Facts
    effect: Effect
    seats: frozenset[Seat] | None = None
    rules: frozenset[str] | None = None

    def differences(self, bar: Bar) -> Iterator[str]:
        """Yield how a bar differs from what is expected."""
        if bar.effect is not self.effect:
            yield f"the effect is {bar.effect}, not {self.effect}"
        if self.seats is not None and frozenset(bar.seats) != self.seats:
            yield f"the seats are {_seats(bar.seats)}, not {_seats(self.seats)}"
        if self.rules is not None and frozenset(bar.rules) != self.rules:
            yield f"the rules are {_listed(bar.rules)}, not {_listed(self.rules)}"


def _seats(seats: Iterable[Seat]) -> str:
    return _listed(f"{seat.count} of {seat.group}" for seat in sorted(seats))


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words)) or "none"
