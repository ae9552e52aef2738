"""What a source of groups answers, and how it says that it cannot be asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


class CannotAskError(Exception):
    """A source cannot be asked now; its text is one sentence for the voter. Caught by the directory."""


@dataclass(frozen=True)
class Answers:
    """Group to members, by ids and names; an unresolved group is empty and has its reason.

    ``aliases`` are what one person each is called, where the members hold both id and name.
    ``stale`` gives by group the ids and names of those who would be members had they signed in
    lately enough.
    """

    members: dict[str, frozenset[str]]
    unresolved: dict[str, str] = field(default_factory=dict)
    aliases: frozenset[frozenset[str]] = frozenset()
    stale: dict[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def none(cls, groups: Iterable[str] | Mapping[str, object], reason: str) -> Answers:
        """Return that none of the groups could be asked."""
        names = list(groups)
        return cls(dict.fromkeys(names, frozenset()), dict.fromkeys(names, reason))
