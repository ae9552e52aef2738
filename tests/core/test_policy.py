from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_approvals.core.bar import Bar, Effect, EvidenceDemand, stricter
from airflow_approvals.core.classification import Label
from airflow_approvals.core.facts import Facts
from airflow_approvals.core.matching import Matcher
from airflow_approvals.core.policy_parsing import parse_policy
from airflow_approvals.core.seats import Seat
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


def test_what_one_rule_wants_read_is_read_for_all_data_that_goes_there():
    """A task that lies about its data would match the other rule."""
    checked = rule("checked", when={"action": "export", "label": "restricted"}, evidence="verified")
    document = with_rules(
        rule("small", when={"label": "internal"}),
        {"id": "open", "when": {"label": "public"}, "effect": "permit"},
        {**checked, "request_ttl": "PT3H"},
    )
    assert judge(document).evidence is EvidenceDemand.VERIFIED
    assert judge(document).request_ttl == timedelta(hours=24), "people have as long as their rule says"
    permitted = judge(document, label=Label.PUBLIC)
    assert (permitted.effect, permitted.evidence) == (Effect.PERMIT, EvidenceDemand.VERIFIED)
    assert permitted.request_ttl == timedelta(hours=3), "nobody waits for the custodian for ever"
    assert judge(document, action="retrain").evidence is EvidenceDemand.REPORTED
    assert judge(document, label=Label.CONFIDENTIAL).effect is Effect.FORBID


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
