"""From a policy document to a :class:`~airflow_approvals.core.policy.Policy`, or to one clear error.

Everything a reader could get wrong is an error here, at load, and not a surprise at a gate:
unknown keys, unknown names, doubled ids, sinks that overlap, rules that nobody can satisfy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow_approvals.core.digest import sha256_digest
from airflow_approvals.core.durations import LONGEST, parse_duration
from airflow_approvals.core.models import Channel
from airflow_approvals.core.policy import Assurance, Bar, Effect, Policy, Rule, Sink
from airflow_approvals.core.policy_checks import (
    check_sinks_apart,
    check_slack_users,
    check_somebody_can_decide,
)
from airflow_approvals.core.policy_fields import At
from airflow_approvals.core.policy_matching import label_matcher, sink_matcher, text_matcher
from airflow_approvals.core.seats import Seat

POLICY_VERSION = 1
#: How long people have to decide, and how long a grant is good for, where a rule does not say.
DEFAULT_REQUEST_TTL = timedelta(hours=24)
DEFAULT_GRANT_TTL = timedelta(hours=1)

_MAX_COUNT = 100
_ASSURANCES = (*Assurance, "content-bound")
#: What only makes sense for one effect is an unknown key for the others.
_KEYS_OF = {
    Effect.FORBID: (),
    Effect.PERMIT: ("grant_ttl",),
    Effect.REQUIRE: ("seats", "channels", "request_ttl", "grant_ttl"),
}


def parse_policy(document: Mapping[str, Any], text: str) -> Policy:
    """Read a policy.

    :param document: what ``text`` says, as plain mappings, lists and scalars.
    :param text: the policy file as it was read; its digest is the policy's.
    :raises PolicyError: naming the path of the first thing that is wrong.
    """
    fields = At(document, "").object(
        required=("version", "sinks", "groups", "rules"), optional=("dev_mode", "identities")
    )
    fields["version"].whole(POLICY_VERSION, POLICY_VERSION)
    sinks = _sinks(fields["sinks"])
    groups = {name: _group(group) for name, group in _named(fields["groups"]).items()}
    team, slack_users = _slack(fields.get("identities", At({}, "identities")))
    policy = Policy(
        digest=sha256_digest(text.encode()),
        text=text,
        dev_mode=fields["dev_mode"].flag() if "dev_mode" in fields else False,
        sinks=sinks,
        groups=groups,
        slack_team=team,
        slack_users=slack_users,
        rules=_rules(fields["rules"], sinks, groups),
    )
    check_somebody_can_decide(policy)
    return policy


def _named(at: At) -> dict[str, At]:
    fields = at.mapping()
    for key in fields:
        At(key, fields[key].path).name()
    return fields


def _sinks(at: At) -> dict[str, Sink]:
    sinks: dict[str, Sink] = {}
    for item in at.items():
        sink = _sink(item)
        if sink.id in sinks:
            item.child("id").fail(f"there are two sinks {sink.id}.")
        check_sinks_apart(item, sink, sinks.values())
        sinks[sink.id] = sink
    return sinks


def _sink(at: At) -> Sink:
    fields = at.object(required=("id", "connection", "uri_prefix", "assurance"))
    if fields["assurance"].one_of(_ASSURANCES) == "content-bound":
        fields["assurance"].fail("content-bound comes with the custodian.", "Use run-bound.")
    return Sink(
        id=fields["id"].name(),
        connection=fields["connection"].name(),
        uri_prefix=_uri_prefix(fields["uri_prefix"]),
        assurance=Assurance.RUN_BOUND,
    )


def _uri_prefix(at: At) -> str:
    text = at.text()
    scheme, separator, rest = text.partition("://")
    if not (scheme.isascii() and scheme.isalnum() and scheme.islower() and separator and rest) or " " in text:
        at.fail("must be a URI of the form scheme://place.")
    if ".." in rest.split("/"):
        at.fail("must not climb with '..'.")
    if "@" in rest.split("/")[0]:
        at.fail("must not name an account.", "The sink's connection holds it.")
    return text


def _group(at: At) -> frozenset[str]:
    return frozenset(at.object(required=("users",))["users"].texts())


def _slack(at: At) -> tuple[str | None, dict[str, str]]:
    identities = at.object(optional=("slack",))
    if "slack" not in identities:
        return None, {}
    fields = identities["slack"].object(required=("team", "users"))
    users = {slack_id: user.text() for slack_id, user in fields["users"].mapping().items()}
    check_slack_users(fields["users"], users)
    return fields["team"].text(), users


def _rules(at: At, sinks: Mapping[str, Sink], groups: Mapping[str, frozenset[str]]) -> tuple[Rule, ...]:
    rules: dict[str, Rule] = {}
    for item in at.items():
        rule = _rule(item, sinks, groups)
        if rule.id in rules:
            item.child("id").fail(f"there are two rules {rule.id}.")
        rules[rule.id] = rule
    return tuple(rules.values())


def _rule(at: At, sinks: Mapping[str, Sink], groups: Mapping[str, frozenset[str]]) -> Rule:
    every = ("seats", "channels", "request_ttl", "grant_ttl")
    fields = at.object(required=("id", "when", "effect"), optional=every)
    effect = Effect(fields["effect"].one_of(effect.value for effect in Effect))
    for key in every:
        if key in fields and key not in _KEYS_OF[effect]:
            fields[key].fail(f"means nothing with effect: {effect}.")
    when = fields["when"].object(optional=("sink", "action", "label"))
    name = fields["id"].name()
    return Rule(
        id=name,
        sink=sink_matcher(when.get("sink"), sinks),
        action=text_matcher(when.get("action")),
        label=label_matcher(when.get("label")),
        bar=_bar(at, fields, effect, name, groups),
    )


def _bar(
    at: At, fields: Mapping[str, At], effect: Effect, rule: str, groups: Mapping[str, frozenset[str]]
) -> Bar:
    asks = effect is Effect.REQUIRE
    return Bar(
        effect=effect,
        rules=(rule,),
        seats=_seats(fields.get("seats", At([], at.child("seats").path)), groups) if asks else (),
        deciding=_deciding(fields.get("channels", At({}, at.child("channels").path)))
        if asks
        else frozenset(),
        # What asks nobody, or grants nothing, must not shorten what another rule sets.
        request_ttl=_ttl(fields, "request_ttl", DEFAULT_REQUEST_TTL) if asks else LONGEST,
        grant_ttl=LONGEST if effect is Effect.FORBID else _ttl(fields, "grant_ttl", DEFAULT_GRANT_TTL),
    )


def _seats(at: At, groups: Mapping[str, frozenset[str]]) -> tuple[Seat, ...]:
    seats: dict[str, Seat] = {}
    for item in at.items():
        seat = _seat(item, groups)
        if seat.group in seats:
            item.fail(f"there are two seats of group {seat.group}.", "Use one with a higher count.")
        seats[seat.group] = seat
    if not seats:
        at.fail("at least one seat is needed with effect: require.")
    return tuple(sorted(seats.values()))


def _seat(at: At, groups: Mapping[str, frozenset[str]]) -> Seat:
    fields = at.object(required=("group", "count"))
    group = fields["group"].name()
    if group not in groups:
        fields["group"].fail(f"there is no group {group}.", _known(groups))
    count = fields["count"].whole(1, _MAX_COUNT)
    if count > len(groups[group]):
        fields["count"].fail(
            f"group {group} has only {len(groups[group])} members, so nobody can satisfy this."
        )
    return Seat(group, count)


def _deciding(at: At) -> frozenset[Channel]:
    known = [channel.value for channel in Channel]
    modes = {name: mode.one_of(("decide", "view")) for name, mode in at.object(optional=known).items()}
    deciding = frozenset(Channel(name) for name, mode in modes.items() if mode == "decide")
    if not deciding:
        at.fail("at least one channel must be allowed to decide.", f"The channels are {', '.join(known)}.")
    return deciding


def _ttl(fields: Mapping[str, At], key: str, default: timedelta) -> timedelta:
    if key not in fields:
        return default
    try:
        return parse_duration(fields[key].value)
    except ValueError as error:
        fields[key].fail(f"{error}.")


def _known(names: Mapping[str, Any] | Sequence[str]) -> str:
    return f"There are {', '.join(sorted(names))}." if names else "There are none."
