from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_approvals.core.classification import Label
from airflow_approvals.core.models import Channel
from airflow_approvals.core.policy import Bar, Effect, Facts, Matcher, Seat, stricter
from airflow_approvals.core.policy_parsing import parse_policy
from airflow_approvals.errors import ContractError
from tests.core.policies import EXAMPLE, rule, with_rules

SINK = "training-bucket"


def judge(document, action="export", sink=SINK, label=Label.INTERNAL):
    return parse_policy(document, "").judge(Facts(action, sink, label))


def test_matching_rule_sets_the_bar():
    bar = judge(EXAMPLE)
    assert (bar.effect, bar.rules) == (Effect.REQUIRE, ("export-to-training",))


@pytest.mark.parametrize(
    "facts",
    [
        Facts("publish", SINK, Label.INTERNAL),
        Facts("export", SINK, Label.PUBLIC),
        Facts("export", "unknown-sink", Label.INTERNAL),
    ],
)
def test_what_no_rule_matches_is_forbidden(facts):
    bar = parse_policy(EXAMPLE, "").judge(facts)
    assert (bar.effect, bar.rules, bar.seats) == (Effect.FORBID, (), ())


def test_unknown_sink_is_forbidden_even_where_a_rule_matches_everything():
    assert judge(with_rules(rule("all")), sink="elsewhere").effect is Effect.FORBID


def test_forbid_beats_require_beats_permit():
    permit = {"id": "p", "when": {}, "effect": "permit"}
    forbid = {"id": "f", "when": {"label": "restricted"}, "effect": "forbid"}
    document = with_rules(permit, rule("r", when={"label": {"gte": "internal"}}), forbid)
    assert judge(document, label=Label.PUBLIC).rules == ("p",)
    assert judge(document, label=Label.PUBLIC).effect is Effect.PERMIT
    assert judge(document, label=Label.INTERNAL).rules == ("p", "r")
    assert judge(document, label=Label.INTERNAL).effect is Effect.REQUIRE
    assert judge(document, label=Label.RESTRICTED).rules == ("f",)
    assert judge(document, label=Label.RESTRICTED).effect is Effect.FORBID


def test_seats_join_by_the_higher_count_and_the_shorter_time_counts():
    groups = {"owners": {"users": ["a", "b", "c"]}, "security": {"users": ["d"]}}
    one = rule("one", seats=[{"group": "owners", "count": 2}], request_ttl="PT2H", grant_ttl="PT5M")
    two = rule(
        "two",
        seats=[{"group": "owners", "count": 1}, {"group": "security", "count": 1}],
        request_ttl="PT1H",
        grant_ttl="PT9M",
    )
    bar = judge({**with_rules(one, two), "groups": groups})
    assert bar.seats == (Seat("owners", 2), Seat("security", 1))
    assert (bar.request_ttl, bar.grant_ttl) == (timedelta(hours=1), timedelta(minutes=5))


def test_channels_that_do_not_meet_forbid():
    document = with_rules(
        rule("a", channels={"ui": "decide"}), rule("b", channels={"slack": "decide", "ui": "view"})
    )
    bar = judge(document)
    assert (bar.effect, bar.rules, bar.deciding) == (Effect.FORBID, ("a", "b"), frozenset())


@pytest.mark.parametrize(
    ("matcher", "matching"),
    [
        (Matcher(), "public internal confidential restricted"),
        (Matcher(at_least=Label.CONFIDENTIAL), "confidential restricted"),
        (Matcher(at_most=Label.INTERNAL), "public internal"),
        (Matcher(at_least=Label.INTERNAL, at_most=Label.INTERNAL), "internal"),
        (Matcher(one_of=frozenset({"public", "restricted"})), "public restricted"),
        (Matcher(one_of=frozenset({"public"}), at_least=Label.INTERNAL), ""),
    ],
)
def test_label_conditions_all_hold(matcher, matching):
    assert [label.word for label in Label if matcher.matches_label(label)] == matching.split()


def test_glob_minds_the_case_and_the_whole_text():
    matcher = Matcher(glob="export-*")
    assert matcher.matches_text("export-eu")
    assert not matcher.matches_text("Export-eu")
    assert not matcher.matches_text("re-export-eu")


bars = st.builds(
    lambda effect, rules, seats, deciding, request, grant: Bar(
        effect,
        rules,
        tuple(sorted(seats)) if effect is Effect.REQUIRE else (),
        deciding if effect is Effect.REQUIRE else frozenset(),
        request,
        grant,
    ),
    st.sampled_from(Effect),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=2, unique=True).map(tuple),
    st.lists(
        st.builds(Seat, st.sampled_from(["x", "y"]), st.integers(1, 3)),
        min_size=1,
        max_size=2,
        unique_by=lambda seat: seat.group,
    ),
    st.frozensets(st.sampled_from(Channel), min_size=1),
    st.integers(1, 10**6).map(lambda seconds: timedelta(seconds=seconds)),
    st.integers(1, 10**6).map(lambda seconds: timedelta(seconds=seconds)),
)


def substance(bar):
    return bar.effect, frozenset(bar.seats), bar.deciding, bar.request_ttl, bar.grant_ttl


@given(bars, bars, bars)
def test_stricter_does_not_mind_the_order(a, b, c):
    assert substance(stricter(a, b)) == substance(stricter(b, a))
    assert substance(stricter(stricter(a, b), c)) == substance(stricter(a, stricter(b, c)))
    assert stricter(a, a) == a


@given(bars, bars)
def test_stricter_is_never_laxer_than_either(a, b):
    both = stricter(a, b)
    order = list(Effect)
    for one in (a, b):
        assert order.index(both.effect) <= order.index(one.effect)
        assert both.request_ttl <= one.request_ttl
        assert both.grant_ttl <= one.grant_ttl
        if both.effect is Effect.REQUIRE and one.effect is Effect.REQUIRE:
            assert both.deciding <= one.deciding
            counts = {seat.group: seat.count for seat in both.seats}
            assert all(counts[seat.group] >= seat.count for seat in one.seats)


@given(bars)
def test_bar_survives_its_document(bar):
    assert Bar.from_document(bar.to_document()) == bar


@pytest.mark.parametrize(
    "change",
    [
        {"effect": "allow"},
        {"deciding": ["fax"]},
        {"request_ttl_seconds": 10**20},
        {"seats": [{"group": "x"}]},
        {"extra": 1},
    ],
)
def test_broken_bar_document_is_refused(change):
    good = stricter(judge(EXAMPLE), judge(EXAMPLE)).to_document()
    with pytest.raises(ContractError):
        Bar.from_document({**good, **change})
