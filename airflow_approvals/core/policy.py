"""The policy: what may go where, and who has to say so.

1. ``forbid`` beats ``require`` beats ``permit``.
2. All matching rules apply and the strictest wins: seats are joined (the higher count per
   group), the shortest time to live counts, a channel decides only where every rule lets it.
3. Where no channel is left that may decide, the answer is ``forbid``.
4. A sink that no rule matches is forbidden, and so is a sink the policy does not know.

How a policy is read from its document: :mod:`airflow_approvals.core.policy_parsing`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import cached_property, reduce
from typing import Any

from airflow_approvals.core.classification import Label
from airflow_approvals.core.documents import Fields
from airflow_approvals.core.durations import LONGEST
from airflow_approvals.core.models import Channel
from airflow_approvals.core.seats import Seat
from airflow_approvals.errors import ContractError

__all__ = ["Assurance", "Bar", "Effect", "Facts", "Matcher", "Policy", "Rule", "Seat", "Sink", "stricter"]


class Effect(enum.StrEnum):
    """What a rule does to what it matches, strictest first."""

    FORBID = "forbid"
    REQUIRE = "require"
    PERMIT = "permit"


class Assurance(enum.StrEnum):
    """What a grant vouches for: that an approved task of this run got the credential."""

    RUN_BOUND = "run-bound"


@dataclass(frozen=True)
class Sink:
    """A protected destination: the Airflow Connection that opens it, and the place it covers."""

    id: str
    connection: str
    uri_prefix: str
    assurance: Assurance = Assurance.RUN_BOUND


@dataclass(frozen=True)
class Facts:
    """What a policy judges by."""

    action: str
    sink: str
    label: Label


@dataclass(frozen=True)
class Bar:
    """The bar that a request has to clear.

    ``rules`` are the ids of the rules that set it; none means that no rule matched.
    ``deciding`` are the channels by which a vote counts. Times to live are whole seconds.
    """

    effect: Effect
    rules: tuple[str, ...]
    seats: tuple[Seat, ...]
    deciding: frozenset[Channel]
    request_ttl: timedelta
    grant_ttl: timedelta

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "effect": self.effect.value,
            "rules": list(self.rules),
            "seats": [{"group": seat.group, "count": seat.count} for seat in self.seats],
            "deciding": sorted(channel.value for channel in self.deciding),
            "request_ttl_seconds": int(self.request_ttl.total_seconds()),
            "grant_ttl_seconds": int(self.grant_ttl.total_seconds()),
        }

    @classmethod
    def from_document(cls, document: object) -> Bar:
        """Read the JSON object; :raises ContractError: when it breaks the schema."""
        fields = Fields(document, "bar")
        try:
            bar = cls(
                effect=Effect(fields.text("effect")),
                rules=fields.texts("rules"),
                seats=tuple(_seat(item) for item in fields.items("seats")),
                deciding=frozenset(Channel(word) for word in fields.texts("deciding")),
                request_ttl=timedelta(seconds=fields.count("request_ttl_seconds")),
                grant_ttl=timedelta(seconds=fields.count("grant_ttl_seconds")),
            )
        except (ValueError, OverflowError):
            raise ContractError("bar: effect, deciding or a time to live has no valid form.") from None
        fields.end()
        return bar


def _seat(item: object) -> Seat:
    fields = Fields(item, "bar: seat")
    seat = Seat(fields.text("group"), fields.count("count"))
    fields.end()
    return seat


#: What is asked of a sink that nothing allows.
NOTHING_ALLOWS_IT = Bar(Effect.FORBID, (), (), frozenset(), LONGEST, LONGEST)


def stricter(a: Bar, b: Bar) -> Bar:
    """Return the bar that clears both: whoever clears it has cleared each of them."""
    request_ttl = min(a.request_ttl, b.request_ttl)
    grant_ttl = min(a.grant_ttl, b.grant_ttl)
    forbidding = [bar for bar in (a, b) if bar.effect is Effect.FORBID]
    if forbidding:
        return Bar(Effect.FORBID, _rules(*forbidding), (), frozenset(), request_ttl, grant_ttl)
    requiring = [bar for bar in (a, b) if bar.effect is Effect.REQUIRE]
    if not requiring:
        return Bar(Effect.PERMIT, _rules(a, b), (), frozenset(), request_ttl, grant_ttl)
    deciding = frozenset.intersection(*(bar.deciding for bar in requiring))
    if not deciding:
        return Bar(Effect.FORBID, _rules(a, b), (), frozenset(), request_ttl, grant_ttl)
    return Bar(Effect.REQUIRE, _rules(a, b), _seats(*requiring), deciding, request_ttl, grant_ttl)


def _rules(*bars: Bar) -> tuple[str, ...]:
    return tuple(dict.fromkeys(rule for bar in bars for rule in bar.rules))


def _seats(*bars: Bar) -> tuple[Seat, ...]:
    counts: dict[str, int] = {}
    for bar in bars:
        for seat in bar.seats:
            counts[seat.group] = max(seat.count, counts.get(seat.group, 0))
    return tuple(Seat(group, count) for group, count in sorted(counts.items()))


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


@dataclass(frozen=True)
class Rule:
    """One rule: when it applies, and the bar it sets."""

    id: str
    sink: Matcher
    action: Matcher
    label: Matcher
    bar: Bar

    def matches(self, facts: Facts) -> bool:
        """Whether the rule applies."""
        return (
            self.sink.matches_text(facts.sink)
            and self.action.matches_text(facts.action)
            and self.label.matches_label(facts.label)
        )


@dataclass(frozen=True)
class Policy:
    """A policy that has passed every check.

    ``digest`` is over the bytes of ``text``, the file as it was read. ``groups`` hold ids or
    names of Airflow users; ``slack_users`` maps Slack user ids to them, one to one.
    """

    digest: str
    text: str
    dev_mode: bool
    sinks: dict[str, Sink]
    groups: dict[str, frozenset[str]]
    slack_team: str | None
    slack_users: dict[str, str]
    rules: tuple[Rule, ...]

    def judge(self, facts: Facts) -> Bar:
        """Return the bar for these facts."""
        matching = [rule.bar for rule in self.rules if rule.matches(facts)]
        if facts.sink not in self.sinks or not matching:
            return NOTHING_ALLOWS_IT
        return reduce(stricter, matching)

    @cached_property
    def protected_connections(self) -> frozenset[str]:
        """Ids of the Connections that open only with a grant."""
        return frozenset(sink.connection for sink in self.sinks.values())

    def projection(self) -> dict[str, Any]:
        """Return what DAG parsers may see: ids and places, nobody's name and no rule."""
        sinks: Mapping[str, Any] = {
            sink.id: {"connection": sink.connection, "uri_prefix": sink.uri_prefix}
            for sink in self.sinks.values()
        }
        return {"version": 1, "sinks": dict(sinks)}
