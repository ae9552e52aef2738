"""Matchers: what the facts of a request must be for a rule to apply.

What is not known (nobody scanned, so there is no residual count) never helps anybody: a rule that
permits does not match it, and a rule that requires or forbids does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from airflow_approvals.core.classification import Label
from airflow_approvals.core.facts import Facts

#: Turns the text of a condition into what evaluates it over ``Facts.to_document()``.
Compiler = Callable[[str], Callable[[Mapping[str, Any]], object]]


@dataclass(frozen=True)
class Matcher:
    """What one fact must be. Every condition that is set must hold; none set matches all.

    ``one_of`` holds labels as words; ``at_least`` and ``at_most`` are for labels only and
    ``glob`` (shell style, case matters) for text only.
    """

    one_of: frozenset[str] | None = None
    glob: str | None = None
    at_least: Label | None = None
    at_most: Label | None = None

    def matches_text(self, text: str) -> bool:
        """Whether the text satisfies every condition that is set."""
        if self.one_of is not None and text not in self.one_of:
            return False
        return self.glob is None or fnmatchcase(text, self.glob)

    def matches_label(self, label: Label) -> bool:
        """Whether the label satisfies every condition that is set."""
        if self.at_least is not None and label < self.at_least:
            return False
        if self.at_most is not None and label > self.at_most:
            return False
        return self.one_of is None or label.word in self.one_of


ANYTHING = Matcher()


@dataclass(frozen=True)
class Range:
    """What a number must be: a closed range, open where a bound is ``None``."""

    least: float | None = None
    most: float | None = None

    def holds(self, number: float) -> bool:
        """Whether the number lies in it."""
        return (self.least is None or number >= self.least) and (self.most is None or number <= self.most)


#: The numbers that a rule can be about; ``None`` is not known.
NUMBERS: Mapping[str, Callable[[Facts], float | None]] = {
    "rows": lambda facts: facts.rows,
    "objects": lambda facts: facts.objects,
    "bytes": lambda facts: facts.size,
    "residual": lambda facts: facts.residual,
    "coverage": lambda facts: facts.coverage,
    "not_scanned": lambda facts: facts.not_scanned,
}
UNKNOWABLE = frozenset({"residual"})

FLAGS: Mapping[str, Callable[[Facts], bool]] = {
    "verified": lambda facts: facts.verified,
    "unattributed": lambda facts: facts.unattributed,
}


@dataclass(frozen=True)
class Condition:
    """What the built-in matchers cannot say, compiled.

    Only ``True`` and ``False`` are answers. Anything else, a fault included, is not known.
    """

    source: str
    evaluate: Callable[[Mapping[str, Any]], object] = field(compare=False, repr=False)

    def holds(self, facts: Facts) -> bool | None:
        """Return the answer, ``None`` where there is none."""
        try:
            answer = self.evaluate(facts.to_document())
        except Exception:
            return None
        return answer if isinstance(answer, bool) else None
