"""What a policy must not be, although every part of it reads well.

1. No two sinks share a place: one Connection with nested prefixes would leave open which of
   them a release goes to.
2. Slack accounts and people are mapped one to one: two accounts of one person would be two votes.
3. Whatever a request looks like, if people are to decide it, enough distinct people can: seen
   per rule and for every set of rules that can match together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from airflow_approvals.core.classification import Label
from airflow_approvals.core.models import Channel
from airflow_approvals.core.policy import Bar, Effect, Facts, Policy, Rule, Sink
from airflow_approvals.core.policy_fields import At
from airflow_approvals.core.seats import Names, Seat, unfilled
from airflow_approvals.errors import PolicyError


def check_sinks_apart(at: At, sink: Sink, others: Iterable[Sink]) -> None:
    """Refuse a sink that lies inside another of the same Connection, or around it."""
    for other in others:
        if sink.connection == other.connection and _overlap(sink.uri_prefix, other.uri_prefix):
            at.child("uri_prefix").fail(
                f"overlaps with sink {other.id} of the same connection.",
                "Give them places side by side, or connections of their own.",
            )


def _overlap(a: str, b: str) -> bool:
    a, b = a.rstrip("/") + "/", b.rstrip("/") + "/"
    return a.startswith(b) or b.startswith(a)


def check_slack_users(at: At, users: Mapping[str, str]) -> None:
    """Refuse a map in which one person has two Slack accounts."""
    seen: dict[str, str] = {}
    for slack_id, user in users.items():
        if user in seen:
            at.child(slack_id).fail(f"{user} is mapped from {seen[user]} already.")
        seen[user] = slack_id


def check_somebody_can_decide(policy: Policy) -> None:
    """Refuse seats that no set of distinct people can fill, by the channels that decide.

    :raises PolicyError: naming the rules and the seats that stay empty.
    """
    checked: set[tuple[str, ...]] = set()
    for bar in _bars(policy):
        if bar.effect is not Effect.REQUIRE or bar.rules in checked:
            continue
        checked.add(bar.rules)
        if empty := unfilled(bar.seats, policy.groups, _voters(policy, bar)):
            raise PolicyError(_nobody_can(bar, empty), "Add people to the groups, or ask for fewer.")


def _bars(policy: Policy) -> Iterator[Bar]:
    """Yield the bar of each rule, and of every kind of request that rules tell apart."""
    yield from (rule.bar for rule in policy.rules)
    alike = {
        tuple(rule for rule in policy.rules if rule.sink.matches_text(sink)): sink for sink in policy.sinks
    }
    for rules, sink in alike.items():
        for action in _telling_actions(rules):
            for label in Label:
                yield policy.judge(Facts(action, sink, label))


def _telling_actions(rules: Iterable[Rule]) -> list[str]:
    """Return the actions that the rules name; a glob stands for itself, which it matches or not."""
    actions = {""}
    for rule in rules:
        actions |= rule.action.one_of or set()
        actions |= {rule.action.glob} if rule.action.glob else set()
    return sorted(actions)


def _voters(policy: Policy, bar: Bar) -> list[Names]:
    people = frozenset[str]().union(*(policy.groups[seat.group] for seat in bar.seats))
    if bar.deciding == {Channel.SLACK}:
        people &= frozenset(policy.slack_users.values())
    return [frozenset({person}) for person in people]


def _nobody_can(bar: Bar, empty: Iterable[Seat]) -> str:
    seats = " and ".join(f"{seat.count} of {seat.group}" for seat in empty)
    rules = ", ".join(bar.rules)
    by = " whom identities.slack maps" if bar.deciding == {Channel.SLACK} else ""
    return f"Nobody can satisfy rule {rules}: distinct people{by} are missing for {seats}."
