"""How the rules of a policy are read: when they apply, and what they ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from airflow_approvals.core.bar import Bar, Effect, Escalation, EvidenceDemand, Standing, Unattributed
from airflow_approvals.core.durations import LONGEST
from airflow_approvals.core.groups import Group
from airflow_approvals.core.matching import Compiler, Condition
from airflow_approvals.core.models import Channel
from airflow_approvals.core.policy import Rule, Sink
from airflow_approvals.core.policy_checks import check_rule
from airflow_approvals.core.policy_fields import At
from airflow_approvals.core.policy_matching import read_when
from airflow_approvals.core.policy_people import known_group
from airflow_approvals.core.seats import Seat

#: How long people have to decide, and how long a grant is good for, where a rule does not say.
DEFAULT_REQUEST_TTL = timedelta(hours=24)
DEFAULT_GRANT_TTL = timedelta(hours=1)
LONGEST_STANDING = timedelta(days=90)
MAX_CONDITION = 500

_MAX_COUNT = 100
_ASKING = (
    "seats",
    "channels",
    "request_ttl",
    "grant_ttl",
    "requester_reason",
    "approver_reason",
    "ticket",
    "remind",
    "escalate",
    "evidence",
    "unattributed",
    "veto",
    "standing",
)
#: What only makes sense for one effect is an unknown key for the others.
_KEYS_OF = {
    Effect.FORBID: (),
    Effect.PERMIT: ("grant_ttl", "evidence", "request_ttl"),
    Effect.REQUIRE: _ASKING,
}


@dataclass(frozen=True)
class Known:
    """What a rule can refer to, and what compiles its condition (``None``: nothing can)."""

    sinks: Mapping[str, Sink]
    groups: Mapping[str, Group]
    compiler: Compiler | None


def read_rules(at: At, known: Known) -> tuple[Rule, ...]:
    """Read the rules; no two have the same id."""
    rules: dict[str, Rule] = {}
    for item in at.items():
        rule = _rule(item, known)
        if rule.id in rules:
            item.child("id").fail(f"there are two rules {rule.id}.")
        rules[rule.id] = rule
    return tuple(rules.values())


def _rule(at: At, known: Known) -> Rule:
    fields = at.object(required=("id", "when", "effect"), optional=("if", *_ASKING))
    effect = Effect(fields["effect"].one_of(effect.value for effect in Effect))
    for key in _ASKING:
        if key in fields and key not in _KEYS_OF[effect]:
            fields[key].fail(f"means nothing with effect: {effect}.")
    when = read_when(fields["when"], known.sinks)
    name = fields["id"].name()
    rule = Rule(
        id=name,
        sink=when.sink,
        action=when.action,
        label=when.label,
        bar=_asking(at, fields, name, known.groups)
        if effect is Effect.REQUIRE
        else _bar(fields, effect, name),
        condition=_condition(fields["if"], known.compiler) if "if" in fields else None,
        dag=when.dag,
        profile=when.profile,
        numbers=when.numbers,
        flags=when.flags,
    )
    check_rule(at, rule)
    return rule


def _condition(at: At, compiler: Compiler | None) -> Condition:
    source = at.text()
    if len(source) > MAX_CONDITION:
        at.fail(
            f"must be at most {MAX_CONDITION} characters.", "Say the rest with `when`, or with two rules."
        )
    if compiler is None:
        at.fail("conditions are written in CEL, which is not installed.", "Install airflow-approvals[cel].")
    try:
        return Condition(source, compiler(source))
    except ValueError as error:
        at.fail(f"{error}.")


def _bar(fields: Mapping[str, At], effect: Effect, rule: str) -> Bar:
    """Return the bar of a rule that asks nobody.

    It must not shorten what another rule sets, so it is as long as can be, unless it waits itself:
    for the custodian.
    """
    evidence = _evidence(fields)
    waits = evidence is EvidenceDemand.VERIFIED
    if not waits and "request_ttl" in fields:
        fields["request_ttl"].fail("means nothing with effect: permit, unless with evidence: verified.")
    request_ttl = _duration(fields, "request_ttl", DEFAULT_REQUEST_TTL) if waits else LONGEST
    grant_ttl = LONGEST if effect is Effect.FORBID else _duration(fields, "grant_ttl", DEFAULT_GRANT_TTL)
    return Bar(effect, (rule,), (), frozenset(), request_ttl, grant_ttl, evidence=evidence)


def _evidence(fields: Mapping[str, At]) -> EvidenceDemand:
    if "evidence" not in fields:
        return EvidenceDemand.REPORTED
    return EvidenceDemand(fields["evidence"].one_of(word.value for word in EvidenceDemand))


def _asking(at: At, fields: Mapping[str, At], rule: str, groups: Mapping[str, Group]) -> Bar:
    unattributed = Unattributed.TWO_PEOPLE
    if "unattributed" in fields:
        unattributed = Unattributed(fields["unattributed"].one_of(word.value for word in Unattributed))
    request_ttl = _duration(fields, "request_ttl", DEFAULT_REQUEST_TTL)
    return Bar(
        effect=Effect.REQUIRE,
        rules=(rule,),
        seats=_seats(fields.get("seats", At([], at.child("seats").path)), groups),
        deciding=_deciding(fields.get("channels", At({}, at.child("channels").path))),
        request_ttl=request_ttl,
        grant_ttl=_duration(fields, "grant_ttl", DEFAULT_GRANT_TTL),
        requester_reason=_patterns(fields, "requester_reason"),
        approver_reason=_patterns(fields, "approver_reason"),
        ticket=_patterns(fields, "ticket"),
        remind=_reminders(fields["remind"], request_ttl) if "remind" in fields else (),
        escalate=_escalations(fields["escalate"], groups, request_ttl) if "escalate" in fields else (),
        evidence=_evidence(fields),
        unattributed=unattributed,
        veto=fields["veto"].flag() if "veto" in fields else True,
        standing=_standing(fields["standing"]) if "standing" in fields else None,
    )


def _patterns(fields: Mapping[str, At], key: str) -> tuple[str, ...]:
    return (fields[key].pattern(),) if key in fields else ()


def _reminders(at: At, request_ttl: timedelta) -> tuple[timedelta, ...]:
    items = at.items()
    spans = [_in_time(item, request_ttl) for item in items]
    for index, item in enumerate(items):
        if spans[index] in spans[:index]:
            item.fail("is listed twice.")
    return tuple(sorted(spans))


def _escalations(at: At, groups: Mapping[str, Group], request_ttl: timedelta) -> tuple[Escalation, ...]:
    found: list[Escalation] = []
    for item in at.items():
        fields = item.object(required=("after", "group"))
        one = Escalation(_in_time(fields["after"], request_ttl), known_group(fields["group"], groups))
        if one in found:
            item.fail("is listed twice.")
        found.append(one)
    return tuple(sorted(found))


def _in_time(at: At, request_ttl: timedelta) -> timedelta:
    span = at.duration()
    if span >= request_ttl:
        at.fail("comes when the request is over.", "It must be shorter than the rule's request_ttl.")
    return span


def _standing(at: At) -> Standing:
    fields = at.object(required=("uses", "within"))
    within = fields["within"].duration()
    if within > LONGEST_STANDING:
        fields["within"].fail(f"must be at most P{LONGEST_STANDING.days}D.")
    return Standing(fields["uses"].whole(1, _MAX_COUNT), within)


def _seats(at: At, groups: Mapping[str, Group]) -> tuple[Seat, ...]:
    seats: dict[str, Seat] = {}
    for item in at.items():
        seat = _seat(item, groups)
        if seat.group in seats:
            item.fail(f"there are two seats of group {seat.group}.", "Use one with a higher count.")
        seats[seat.group] = seat
    if not seats:
        at.fail("at least one seat is needed with effect: require.")
    return tuple(sorted(seats.values()))


def _seat(at: At, groups: Mapping[str, Group]) -> Seat:
    fields = at.object(required=("group", "count"))
    group = known_group(fields["group"], groups)
    count = fields["count"].whole(1, _MAX_COUNT)
    members = groups[group].users
    if groups[group].is_static and count > len(members):
        fields["count"].fail(f"group {group} has only {len(members)} members, so nobody can satisfy this.")
    return Seat(group, count)


def _deciding(at: At) -> frozenset[Channel]:
    known = [channel.value for channel in Channel]
    modes = {name: mode.one_of(("decide", "view")) for name, mode in at.object(optional=known).items()}
    deciding = frozenset(Channel(name) for name, mode in modes.items() if mode == "decide")
    if not deciding:
        at.fail("at least one channel must be allowed to decide.", f"The channels are {', '.join(known)}.")
    return deciding


def _duration(fields: Mapping[str, At], key: str, default: timedelta) -> timedelta:
    return fields[key].duration() if key in fields else default
