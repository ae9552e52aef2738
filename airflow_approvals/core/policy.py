"""The policy: what may go where, and who has to say so.

1. ``forbid`` beats ``require`` beats ``permit``.
2. All matching rules apply and the strictest wins: seats are joined (the higher count per
   group), the shortest time to live counts, a channel decides only where every rule lets it.
3. Where no channel is left that may decide, the answer is ``forbid``.
4. A sink that no rule matches is forbidden, and so is a sink the policy does not know.
5. Where one rule for a sink, an action and a DAG wants the evidence verified, it is for all data that
   goes there by them: a task that lies about its data would not match that rule.

How a policy is read from its document: :mod:`airflow_approvals.core.policy_parsing`.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property, reduce
from typing import Any

from airflow_approvals.core.bar import NOTHING_ALLOWS_IT, Bar, Effect, EvidenceDemand, stricter
from airflow_approvals.core.cases import Case
from airflow_approvals.core.entra import TeamsIdentities
from airflow_approvals.core.facts import Facts
from airflow_approvals.core.groups import Group
from airflow_approvals.core.matching import ANYTHING, FLAGS, NUMBERS, Condition, Matcher, Range
from airflow_approvals.core.models import Channel


class Assurance(enum.StrEnum):
    """What a grant vouches for.

    Run-bound: an approved task of this run got the credential, and what it sent is its author's
    word. Content-bound: the custodian copied the approved bytes, and no task saw the credential.
    """

    RUN_BOUND = "run-bound"
    CONTENT_BOUND = "content-bound"


@dataclass(frozen=True)
class Sink:
    """A protected destination: the Airflow Connection that opens it, and the place it covers."""

    id: str
    connection: str
    uri_prefix: str
    assurance: Assurance = Assurance.RUN_BOUND


@dataclass(frozen=True)
class BreakGlass:
    """Who may open a gate alone in an emergency, and what that costs them.

    ``reason`` and ``ticket`` are patterns for the whole text. Each use has to be reviewed within
    ``review_within`` by somebody else of ``reviewers``; until then there is no next use. At most
    ``uses`` in any 30 days.
    """

    group: str
    reviewers: str
    reason: str
    ticket: str
    review_within: timedelta
    uses: int


@dataclass(frozen=True)
class Rule:
    """One rule: when it applies, and the bar it sets.

    ``numbers`` and ``flags`` are by the names of :data:`NUMBERS` and :data:`FLAGS`.
    """

    id: str
    sink: Matcher
    action: Matcher
    label: Matcher
    bar: Bar
    condition: Condition | None = None
    dag: Matcher = ANYTHING
    profile: Matcher = ANYTHING
    numbers: tuple[tuple[str, Range], ...] = ()
    flags: tuple[tuple[str, bool], ...] = ()

    def matches(self, facts: Facts) -> bool:
        """Whether the rule applies."""
        return next(self.mismatches(facts), None) is None

    def mismatches(self, facts: Facts) -> Iterator[str]:
        """Yield the keys of the rule's ``when`` that do not match, and ``if``, cheapest first."""
        if not self.sink.matches_text(facts.sink):
            yield "sink"
        if not self.action.matches_text(facts.action):
            yield "action"
        if not self.label.matches_label(facts.label):
            yield "label"
        if not self.dag.matches_text(facts.dag_id):
            yield "dag"
        if not self.profile.matches_text(facts.profile):
            yield "profile"
        yield from (name for name, _ in self.numbers if not self.takes_number(name, NUMBERS[name](facts)))
        yield from (name for name, wanted in self.flags if FLAGS[name](facts) is not wanted)
        if self.condition is not None and not self._known(self.condition.holds(facts)):
            yield "if"

    def may_demand_reading(self, facts: Facts) -> bool:
        """Whether the rule wants verified evidence where the data is not what a task says it is."""
        return (
            self.bar.evidence is EvidenceDemand.VERIFIED
            and self.sink.matches_text(facts.sink)
            and self.action.matches_text(facts.action)
            and self.dag.matches_text(facts.dag_id)
        )

    def takes_number(self, name: str, number: float | None) -> bool:
        """Whether the rule applies where a number is this; ``None`` is not known."""
        ranges = (range_ for key, range_ in self.numbers if key == name)
        return all(self._known(None if number is None else one.holds(number)) for one in ranges)

    def _known(self, answer: bool | None) -> bool:
        """What is not known speaks for the stricter side, whichever that is for this rule."""
        return self.bar.effect is not Effect.PERMIT if answer is None else answer


@dataclass(frozen=True)
class Policy:
    """A policy that has passed every check.

    ``digest`` is over the bytes of ``text``, the file as it was read. People are ids or names of
    Airflow users; ``slack_users`` maps Slack user ids to them, one to one, and ``git_authors``
    maps the e-mail addresses of commits, in lower case, to them. A confirmed Slack address of one
    of ``slack_email_domains`` names the Airflow user with that address; none is the default.
    ``teams`` says whose the accounts of Teams are.
    """

    digest: str
    text: str
    dev_mode: bool
    sinks: dict[str, Sink]
    groups: dict[str, Group]
    slack_team: str | None
    slack_users: dict[str, str]
    rules: tuple[Rule, ...]
    git_authors: Mapping[str, str] = field(default_factory=dict)
    break_glass: BreakGlass | None = None
    cases: tuple[Case, ...] = ()
    slack_email_domains: frozenset[str] = frozenset()
    teams: TeamsIdentities | None = None

    def judge(self, facts: Facts) -> Bar:
        """Return the bar for these facts."""
        matching = [rule.bar for rule in self.rules if rule.matches(facts)]
        if facts.sink not in self.sinks or not matching:
            return NOTHING_ALLOWS_IT
        return self._read_again(reduce(stricter, matching), facts)

    def _read_again(self, bar: Bar, facts: Facts) -> Bar:
        """Have the custodian read what a rule might want read: what it is, a task says until then."""
        demanding = [rule.bar for rule in self.rules if rule.may_demand_reading(facts)]
        if bar.effect is Effect.FORBID or not demanding:
            return bar
        waits = [] if bar.effect is Effect.REQUIRE else [one.request_ttl for one in demanding]
        request_ttl = min([bar.request_ttl, *waits])
        return replace(bar, evidence=EvidenceDemand.VERIFIED, request_ttl=request_ttl)

    def failures(self) -> Iterator[str]:
        """Yield the test cases in the file that the policy does not meet, and how."""
        for case in self.cases:
            if differences := list(case.differences(self.judge(case.facts))):
                yield f"{case.name}: {'; '.join(differences)}."

    def accounts_of(self, people: Collection[str], channel: Channel) -> tuple[str, ...]:
        """Return the accounts of a chat that are linked to these ids or names, sorted."""
        if channel is Channel.TEAMS:
            return self.teams.accounts_of(people) if self.teams is not None else ()
        linked = self.slack_users if channel is Channel.SLACK else {}
        return tuple(sorted(account for account, name in linked.items() if name in people))

    @cached_property
    def listed_groups(self) -> dict[str, frozenset[str]]:
        """Members of the groups that the policy itself lists."""
        return {name: group.users for name, group in self.groups.items() if group.is_static}

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
