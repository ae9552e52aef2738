"""Whether enough distinct people can decide, whatever a request looks like.

A rule is about the requests of a box: some values of each fact, independent of the others. Rules
apply together where their boxes overlap, so the boxes are intersected with each other, and on
each of them the joint bar must be one that people can clear. A condition in CEL may hold or not;
here it holds. Only seats of groups that the policy lists can be judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TypeVar

from airflow_approvals.core.bar import Bar, Effect, stricter
from airflow_approvals.core.classification import Label
from airflow_approvals.core.matching import FLAGS, NUMBERS, UNKNOWABLE, Matcher
from airflow_approvals.core.models import CHATS, Channel
from airflow_approvals.core.policy import Policy, Rule
from airflow_approvals.core.seats import Names, Seat, unfilled
from airflow_approvals.errors import PolicyError

#: Values of one fact, as bits; a box has one set per fact.
Box = tuple[int, ...]
#: Overlapping rules have exponentially many boxes at worst; real policies have a few.
MAX_BOXES = 1000

T = TypeVar("T")


@dataclass(frozen=True)
class _Telling:
    """Of every fact, values enough to tell the rules apart."""

    actions: Sequence[str]
    dags: Sequence[str]
    profiles: Sequence[str]
    numbers: Mapping[str, Sequence[float | None]]


def check_somebody_can_decide(policy: Policy) -> None:
    """Refuse seats that no set of distinct people can fill, by the channels that decide.

    :raises PolicyError: naming the rules and the seats that stay empty.
    """
    for sink in policy.sinks:
        rules = [rule for rule in policy.rules if rule.sink.matches_text(sink)]
        asking = [rule for rule in rules if rule.bar.effect is Effect.REQUIRE]
        if asking and not _all_at_once(policy, asking):
            _check_boxes(policy, sink, rules)


def _all_at_once(policy: Policy, asking: Sequence[Rule]) -> bool:
    """Whether people could clear all bars at once, by the narrowest channel: then any of them."""
    counts: dict[str, int] = {}
    for seat in (seat for rule in asking for seat in rule.bar.seats):
        counts[seat.group] = max(seat.count, counts.get(seat.group, 0))
    seats = [Seat(group, count) for group, count in counts.items()]
    everywhere = frozenset.intersection(*(rule.bar.deciding for rule in asking))
    # Where not even one channel is common, the rules overlap by any of theirs, or nowhere.
    ways = [everywhere] if everywhere else [frozenset({one}) for rule in asking for one in rule.bar.deciding]
    alone = any(("unattributed", True) in rule.flags for rule in asking)
    return not alone and not any(_empty(policy, seats, deciding) for deciding in ways)


def _check_boxes(policy: Policy, sink: str, rules: Sequence[Rule]) -> None:
    telling = _telling(rules)
    boxes = {rule.id: _box(rule, telling) for rule in rules}
    forbidden = [boxes[r.id] for r in rules if r.bar.effect is Effect.FORBID and r.condition is None]
    asking = [rule for rule in rules if rule.bar.effect is Effect.REQUIRE]
    for box, bar in _overlaps(sink, asking, boxes).items():
        if bar.effect is Effect.REQUIRE and not any(_inside(box, other) for other in forbidden):
            # The last fact is whether the run is unattributed, and its first value is true.
            _check_bar(policy, bar, unattributed=box[-1] == 1)


def _check_bar(policy: Policy, bar: Bar, *, unattributed: bool) -> None:
    if empty := _empty(policy, bar.seats, bar.deciding):
        raise _nobody_can(bar, _missing(empty, bar.deciding))
    voters = _voters(policy, bar.seats, bar.deciding)
    if unattributed and _is_listed(policy, bar.seats) and len(voters) < 2:
        raise _nobody_can(bar, "a run that nobody can be named for needs two people, and there is one")


def _telling(rules: Sequence[Rule]) -> _Telling:
    numbers = {key: list(_numbers(rules, key)) for key in NUMBERS}
    return _Telling(
        actions=_texts(rule.action for rule in rules),
        dags=_texts(rule.dag for rule in rules),
        profiles=_texts(rule.profile for rule in rules),
        numbers=numbers,
    )


def _texts(matchers: Iterable[Matcher]) -> list[str]:
    """Return the texts that the matchers name; a glob stands for itself, which it matches or not."""
    texts = {""}
    for matcher in matchers:
        texts |= matcher.one_of or set()
        texts |= {matcher.glob} if matcher.glob else set()
    return sorted(texts)


def _numbers(rules: Iterable[Rule], key: str) -> Iterator[float | None]:
    """Yield not known where that can be, the bounds that rules name, and what lies between them."""
    ranges = [range_ for rule in rules for name, range_ in rule.numbers if name == key]
    named = sorted({bound for one in ranges for bound in (one.least, one.most) if bound is not None} | {0.0})
    if key in UNKNOWABLE:
        yield None
    for low, high in pairwise([*named, named[-1] + 2]):
        yield from (low, (low + high) / 2, low + 1) if key != "coverage" else (low, (low + high) / 2)


def _box(rule: Rule, telling: _Telling) -> Box:
    flags = dict(rule.flags)
    return (
        _bits(rule.action.matches_text, telling.actions),
        _bits(rule.dag.matches_text, telling.dags),
        _bits(rule.profile.matches_text, telling.profiles),
        _bits(rule.label.matches_label, list(Label)),
        *(_bits(partial(rule.takes_number, key), values) for key, values in telling.numbers.items()),
        *(_bits(partial(_takes_flag, flags, key), (True, False)) for key in FLAGS),
    )


def _takes_flag(flags: Mapping[str, bool], key: str, value: bool) -> bool:
    return flags.get(key, value) is value


def _bits(matches: Callable[[T], bool], values: Sequence[T]) -> int:
    return sum(1 << index for index, value in enumerate(values) if matches(value))


def _overlaps(sink: str, asking: Iterable[Rule], boxes: Mapping[str, Box]) -> dict[Box, Bar]:
    """Return every overlap of the rules' boxes, with the bar of all the rules that hold there."""
    found: dict[Box, Bar] = {}
    for rule in asking:
        own = boxes[rule.id]
        for box, bar in [*found.items(), (own, rule.bar)]:
            overlap = tuple(a & b for a, b in zip(own, box, strict=True))
            if all(overlap):
                joint = stricter(bar, rule.bar)
                found[overlap] = stricter(found[overlap], joint) if overlap in found else joint
        if len(found) > MAX_BOXES:
            raise PolicyError(
                f"The rules about sink {sink} overlap in too many ways to see who can satisfy them.",
                "Use fewer conditions that overlap, or put more people into the groups.",
            )
    return found


def _inside(box: Box, other: Box) -> bool:
    return all(a & ~b == 0 for a, b in zip(box, other, strict=True))


def _is_listed(policy: Policy, seats: Iterable[Seat]) -> bool:
    return all(policy.groups[seat.group].is_static for seat in seats)


def _empty(policy: Policy, seats: Iterable[Seat], deciding: frozenset[Channel]) -> tuple[Seat, ...]:
    listed = [seat for seat in seats if policy.groups[seat.group].is_static]
    return unfilled(listed, policy.listed_groups, _voters(policy, listed, deciding))


def _voters(policy: Policy, seats: Iterable[Seat], deciding: frozenset[Channel]) -> list[Names]:
    """Return who can vote: by chat only those with an account there that the policy links."""
    people = frozenset[str]().union(*(policy.groups[seat.group].users for seat in seats))
    if deciding <= CHATS:
        people = frozenset(
            person for person in people if any(policy.accounts_of({person}, chat) for chat in deciding)
        )
    return [frozenset({person}) for person in people]


def _nobody_can(bar: Bar, missing: str) -> PolicyError:
    return PolicyError(
        f"Nobody can satisfy rule {', '.join(bar.rules)}: {missing}.",
        "Add people to the groups, or ask for fewer.",
    )


def _missing(empty: Iterable[Seat], deciding: frozenset[Channel]) -> str:
    seats = " and ".join(f"{seat.count} of {seat.group}" for seat in empty)
    maps = " or ".join(f"identities.{chat.value}" for chat in sorted(deciding))
    by = f" whom {maps} maps" if deciding <= CHATS else ""
    return f"distinct people{by} are missing for {seats}"
