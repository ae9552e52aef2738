"""Laws of judging, over policies and requests that nobody thought of."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_approvals.core.bar import (
    NOTHING_ALLOWS_IT,
    Bar,
    Effect,
    Escalation,
    EvidenceDemand,
    Standing,
    Unattributed,
    stricter,
)
from airflow_approvals.core.classification import Label
from airflow_approvals.core.facts import Facts
from airflow_approvals.core.matching import Condition, Matcher, Range
from airflow_approvals.core.models import Channel
from airflow_approvals.core.policy import Policy, Rule
from airflow_approvals.core.policy_parsing import parse_policy
from airflow_approvals.core.seats import Seat
from tests.core.policies import EXAMPLE

BASE = parse_policy(EXAMPLE, "")
EFFECTS = list(Effect)
spans = st.integers(1, 10**6).map(lambda seconds: timedelta(seconds=seconds))
patterns = st.sets(st.sampled_from(["a.*", "b.*", ".{3,}"]), max_size=2).map(lambda s: tuple(sorted(s)))
seats = st.dictionaries(st.sampled_from(["x", "y"]), st.integers(1, 3), min_size=1).map(
    lambda counts: tuple(Seat(*item) for item in sorted(counts.items()))
)


def bar_of(effect: Effect, rule: str, **asked: Any) -> Bar:
    times = {key: asked.pop(key) for key in ("request_ttl", "grant_ttl")}
    plain = Bar(effect, (rule,), (), frozenset(), **times)
    if effect is Effect.PERMIT:
        return replace(plain, evidence=asked["evidence"])
    return replace(plain, **asked) if effect is Effect.REQUIRE else plain


bars = st.builds(
    bar_of,
    st.sampled_from(Effect),
    st.sampled_from("abcdef"),
    seats=seats,
    deciding=st.frozensets(st.sampled_from(Channel), min_size=1),
    request_ttl=spans,
    grant_ttl=spans,
    requester_reason=patterns,
    approver_reason=patterns,
    ticket=patterns,
    remind=st.sets(spans, max_size=2).map(lambda s: tuple(sorted(s))),
    escalate=st.sets(st.builds(Escalation, spans, st.sampled_from("xy")), max_size=2).map(
        lambda s: tuple(sorted(s))
    ),
    evidence=st.sampled_from(EvidenceDemand),
    unattributed=st.sampled_from(Unattributed),
    veto=st.booleans(),
    standing=st.none() | st.builds(Standing, st.integers(1, 9), spans),
)
ranges = st.builds(Range, st.none() | st.integers(0, 3), st.none() | st.integers(0, 3))
rules = st.builds(
    Rule,
    id=st.sampled_from("abcdef"),
    sink=st.sampled_from([Matcher(), Matcher(glob="training-*")]),
    action=st.sampled_from([Matcher(), Matcher(one_of=frozenset({"export"})), Matcher(glob="re*")]),
    label=st.sampled_from([Matcher(), Matcher(at_least=Label.INTERNAL), Matcher(at_most=Label.PUBLIC)]),
    bar=bars,
    condition=st.sampled_from(
        [None, Condition("yes", lambda _: True), Condition("no", lambda _: False), Condition("fault", dict)]
    ),
    numbers=st.sampled_from(["rows", "residual", "not_scanned"]).flatmap(
        lambda key: st.tuples(st.tuples(st.just(key), ranges)) | st.just(())
    ),
    flags=st.just(()) | st.tuples(st.tuples(st.just("unattributed"), st.booleans())),
)
requests = st.builds(
    Facts,
    st.sampled_from(["export", "retrain"]),
    st.sampled_from(["training-bucket", "elsewhere"]),
    st.sampled_from(Label),
    rows=st.integers(0, 3),
    residual=st.none() | st.integers(0, 3),
    not_scanned=st.integers(0, 3),
    unattributed=st.booleans(),
)


def policy(some: list[Rule]) -> Policy:
    return replace(BASE, rules=tuple(some))


def demanded(bar: Bar) -> Bar:
    """What a bar demands, without the order in which its rules were met."""
    return replace(
        bar,
        # Which of the rules are named is for people; with the effect forbid it can depend on the order.
        rules=(),
        requester_reason=tuple(sorted(bar.requester_reason)),
        approver_reason=tuple(sorted(bar.approver_reason)),
        ticket=tuple(sorted(bar.ticket)),
    )


def assert_at_least(high: Bar, low: Bar) -> None:
    """Whoever clears ``high`` has cleared ``low``."""
    assert EFFECTS.index(high.effect) <= EFFECTS.index(low.effect)
    if high.effect is Effect.FORBID:
        return
    assert high.grant_ttl <= low.grant_ttl
    assert high.evidence is EvidenceDemand.VERIFIED or low.evidence is EvidenceDemand.REPORTED
    if low.effect is not Effect.REQUIRE:
        return
    counts = {seat.group: seat.count for seat in high.seats}
    assert all(counts.get(seat.group, 0) >= seat.count for seat in low.seats)
    assert high.deciding <= low.deciding
    assert high.request_ttl <= low.request_ttl
    for key in ("requester_reason", "approver_reason", "ticket", "remind", "escalate"):
        assert set(getattr(high, key)) >= set(getattr(low, key))
    assert high.unattributed is Unattributed.FORBID or low.unattributed is Unattributed.TWO_PEOPLE
    assert high.veto >= low.veto
    if high.standing is not None:
        assert low.standing is not None
        assert high.standing.uses <= low.standing.uses
        assert high.standing.within <= low.standing.within


@given(bars, bars, bars)
def test_stricter_is_a_join(a: Bar, b: Bar, c: Bar) -> None:
    assert demanded(stricter(a, b)) == demanded(stricter(b, a))
    assert demanded(stricter(stricter(a, b), c)) == demanded(stricter(a, stricter(b, c)))
    assert demanded(stricter(a, a)) == demanded(a)
    assert_at_least(stricter(a, b), a)
    assert_at_least(stricter(a, b), b)


@given(st.lists(rules, max_size=6), requests, st.randoms())
def test_judging_does_not_mind_the_order_of_the_rules(
    some: list[Rule], facts: Facts, dice: random.Random
) -> None:
    shuffled = list(some)
    dice.shuffle(shuffled)
    assert demanded(policy(some).judge(facts)) == demanded(policy(shuffled).judge(facts))


@given(st.lists(rules, max_size=5), rules, requests)
def test_a_rule_more_never_lowers_the_bar(some: list[Rule], more: Rule, facts: Facts) -> None:
    """But for the first rule that matches: before it, nothing is allowed."""
    before = policy(some).judge(facts)
    if before != NOTHING_ALLOWS_IT:
        assert_at_least(policy([*some, more]).judge(facts), before)


@given(st.lists(rules, max_size=6), requests)
def test_what_is_not_known_is_never_better_than_what_is(some: list[Rule], facts: Facts) -> None:
    """Who leaves out the scan has to clear what any count could have asked for."""
    asking = policy([rule for rule in some if rule.bar.effect is not Effect.PERMIT])
    without = asking.judge(replace(facts, residual=None))
    for count in range(5):
        known = asking.judge(replace(facts, residual=count))
        if known != NOTHING_ALLOWS_IT:
            assert_at_least(without, known)


@given(bars)
def test_every_bar_survives_its_document(bar: Bar) -> None:
    assert Bar.from_document(bar.to_document()) == bar
