from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_approvals.core.bar import Bar, Effect, Unattributed
from airflow_approvals.core.decision import eligible, tally
from airflow_approvals.core.models import Channel, Person, RequestState, Verdict, Vote
from airflow_approvals.core.seats import Seat

AT = datetime(2026, 1, 1, tzinfo=UTC)
GROUPS = {"owners": frozenset({"bob", "carol", "17"}), "security": frozenset({"carol", "dana"})}
NOBODY = frozenset()
REJECT = Verdict.REJECT
REJECTED = RequestState.REJECTED


def bar(*seats, effect=Effect.REQUIRE, deciding=(Channel.UI, Channel.SLACK)):
    ttl = timedelta(hours=1)
    return Bar(effect, ("r",), seats or (Seat("owners", 1),), frozenset(deciding), ttl, ttl)


def vote(name, verdict=Verdict.APPROVE, channel=Channel.UI, *, known_as=None):
    return Vote(Person(known_as or name, name), verdict, "", channel, AT)


def count(the_bar, *votes, requesters=NOBODY, unattributed=False):
    return tally(the_bar, GROUPS, requesters, votes, unattributed=unattributed)


def refusal(name, *, known_as=None, requesters=frozenset({"alice"}), channel=Channel.UI, the_bar=None):
    return eligible(the_bar or bar(), GROUPS, requesters, Person(known_as or name, name), channel)


def test_member_by_id_or_name_may_vote():
    assert refusal("bob") is None
    assert refusal("robert", known_as="17") is None


@pytest.mark.parametrize("requesters", [{"bob"}, {"42"}])
def test_requester_by_id_or_name_is_refused_before_anything_else(requesters):
    refused = refusal("bob", known_as="42", requesters=frozenset(requesters), channel=Channel.API)
    assert (refused.code, refused.status) == ("self_approval", 403)


def test_stranger_is_refused():
    assert refusal("dana").code == "not_eligible"
    assert refusal("dana").status == 403


def test_channel_that_only_views_is_refused_and_the_others_are_named():
    refused = refusal("bob", channel=Channel.API)
    assert (refused.code, refused.status) == ("channel_views_only", 403)
    assert "slack, ui" in refused.sentence


def test_nobody_is_eligible_under_a_forbidding_bar():
    forbidding = Bar(Effect.FORBID, (), (), frozenset(), timedelta(1), timedelta(1))
    assert refusal("bob", the_bar=forbidding).code == "not_eligible"


def test_no_vote_is_pending_and_says_what_is_missing():
    result = count(bar(Seat("owners", 1), Seat("security", 1)))
    assert result.state is RequestState.PENDING
    assert result.missing == (Seat("owners", 1), Seat("security", 1))
    assert result.because == "it still needs 1 of owners and 1 of security."


def test_seats_filled_is_approved():
    result = count(bar(Seat("owners", 1), Seat("security", 1)), vote("carol"), vote("bob"))
    assert (result.state, result.approvals) == (RequestState.APPROVED, 2)
    assert result.because == "Approved by bob, carol."


def test_one_person_does_not_fill_two_seats():
    result = count(bar(Seat("owners", 1), Seat("security", 1)), vote("carol"))
    assert (result.state, result.approvals) == (RequestState.PENDING, 1)
    assert len(result.missing) == 1


def test_one_person_by_two_channels_and_names_counts_once():
    two = bar(Seat("owners", 2))
    result = count(two, vote("bob", known_as="17"), vote("bob", channel=Channel.SLACK))
    assert (result.state, result.approvals) == (RequestState.PENDING, 1)


def test_one_rejection_wins_over_enough_approvals():
    result = count(bar(), vote("bob"), vote("carol", Verdict.REJECT))
    assert (result.state, result.because) == (RequestState.REJECTED, "Rejected by carol.")


@pytest.mark.parametrize(
    "idle",
    [vote("dana", Verdict.REJECT), vote("alice", Verdict.REJECT), vote("bob", Verdict.REJECT, Channel.API)],
)
def test_votes_that_do_not_count_change_nothing(idle):
    assert count(bar(), idle, requesters=frozenset({"alice"})).state is RequestState.PENDING


def test_who_became_a_requester_after_voting_no_longer_counts():
    assert count(bar(), vote("bob")).state is RequestState.APPROVED
    assert count(bar(), vote("bob"), requesters=frozenset({"bob"})).state is RequestState.PENDING


def test_unattributed_run_needs_two_people():
    one = count(bar(), vote("bob"), unattributed=True)
    assert one.state is RequestState.PENDING
    assert "one more person" in one.because
    assert count(bar(), vote("bob"), vote("carol"), unattributed=True).state is RequestState.APPROVED


def test_forbidden_and_permitted_do_not_depend_on_votes():
    assert count(bar(effect=Effect.FORBID), vote("bob"), vote("carol")).state is RequestState.FORBIDDEN
    assert count(bar(effect=Effect.PERMIT)).state is RequestState.APPROVED


people = st.sampled_from(["alice", "bob", "carol", "dana", "eve"])
votes = st.lists(
    st.builds(vote, people, st.sampled_from(Verdict), st.sampled_from(Channel)),
    max_size=6,
    unique_by=lambda cast: cast.person.id,
)
seats = st.lists(
    st.builds(Seat, st.sampled_from(["owners", "security"]), st.integers(1, 2)),
    min_size=1,
    unique_by=lambda seat: seat.group,
)


@given(votes, seats, st.booleans(), st.randoms(use_true_random=False))
def test_vote_order_never_matters(votes, seats, unattributed, rnd: random.Random):
    shuffled = list(votes)
    rnd.shuffle(shuffled)
    barred = frozenset({"alice"})
    assert count(bar(*seats), *votes, requesters=barred, unattributed=unattributed) == count(
        bar(*seats), *shuffled, requesters=barred, unattributed=unattributed
    )


@given(votes, seats, st.booleans())
def test_approval_always_rests_on_enough_distinct_eligible_people(votes, seats, unattributed):
    the_bar = bar(*seats)
    result = count(the_bar, *votes, requesters=frozenset({"bob"}), unattributed=unattributed)
    if result.state is RequestState.APPROVED:
        good = [v for v in votes if refusal(v.person.name, requesters=frozenset({"bob"}), channel=v.channel,
                                            the_bar=the_bar) is None]  # fmt: skip
        assert all(v.verdict is Verdict.APPROVE for v in good)
        assert len(good) >= max(sum(seat.count for seat in seats), 2 if unattributed else 1)


def lenient(*seats, **changes):
    return replace(bar(*seats), veto=False, **changes)


def test_without_a_veto_the_others_may_still_approve():
    two = lenient(Seat("owners", 2))
    assert count(two, vote("bob", REJECT)).state is RequestState.PENDING
    result = count(two, vote("bob", REJECT), vote("carol"), vote("robert", known_as="17"))
    assert result.state is RequestState.APPROVED


def test_without_a_veto_a_rejection_is_final_once_the_seats_cannot_be_filled():
    """Carol alone cannot take both seats, and dana is the only other one of security."""
    both = lenient(Seat("owners", 1), Seat("security", 1))
    assert count(both, vote("dana", REJECT)).state is RequestState.PENDING
    rejected = count(both, vote("dana", REJECT), requesters=frozenset({"carol"}))
    assert (rejected.state, rejected.because) == (RequestState.REJECTED, "Rejected by dana.")
    rejected = count(both, vote("dana", REJECT), vote("bob", REJECT), requesters=frozenset({"17"}))
    assert rejected.state is RequestState.REJECTED


def test_without_a_veto_a_group_that_cannot_be_asked_keeps_the_question_open():
    both = lenient(Seat("owners", 1), Seat("security", 1))
    groups = {"owners": GROUPS["owners"], "security": frozenset()}
    votes = [vote("bob", REJECT)]
    known = tally(both, groups, NOBODY, votes, unattributed=False)
    assert known.state is RequestState.REJECTED
    asked = tally(both, groups, NOBODY, votes, unattributed=False, unknown={"security": "no answer"})
    assert asked.state is RequestState.PENDING


def test_without_a_veto_an_unattributed_run_is_rejected_when_two_are_no_longer_there():
    one = lenient(Seat("security", 1))
    assert count(one, vote("dana", REJECT)).state is RequestState.PENDING
    assert count(one, vote("dana", REJECT), unattributed=True).state is RequestState.REJECTED


def test_who_has_said_no_under_one_name_fills_no_seat_under_another():
    both = lenient(Seat("owners", 1))
    result = count(both, vote("bob", REJECT, known_as="17"), vote("bob"))
    assert result.state is RequestState.PENDING
    assert result.approvals == 0


def test_an_unattributed_run_is_forbidden_where_the_rule_says_so():
    forbidding = replace(bar(), unattributed=Unattributed.FORBID)
    votes = (vote("bob"), vote("carol"))
    assert count(forbidding, *votes, unattributed=True).state is RequestState.FORBIDDEN
    assert count(forbidding, *votes).state is RequestState.APPROVED


def test_an_approval_counts_only_with_the_reason_that_is_asked_for():
    reasoned = replace(bar(), approver_reason=("[a-z ]{5,}", ".*rows.*"))
    assert count(reasoned, vote("bob")).state is RequestState.PENDING
    why = replace(vote("bob"), reason=" read the rows ")
    assert count(reasoned, why).state is RequestState.APPROVED
    assert count(reasoned, replace(why, reason="read the rows, all")).state is RequestState.PENDING
    assert count(reasoned, vote("bob", REJECT)).state is RequestState.REJECTED


def test_a_thousand_members_are_looked_through_at_once():
    groups = {"owners": frozenset(f"user{n}" for n in range(1000))}
    many = lenient(Seat("owners", 999))
    votes = [vote("user1", REJECT)]
    assert tally(many, groups, NOBODY, votes, unattributed=False).state is RequestState.PENDING
    votes.append(vote("user2", REJECT))
    assert tally(many, groups, NOBODY, votes, unattributed=False).state is RequestState.REJECTED


def test_without_a_veto_an_id_and_a_name_of_one_person_are_not_two_who_could_still_approve():
    two, groups = replace(bar(Seat("owners", 2)), veto=False), {"owners": frozenset({"7", "bob", "carol"})}
    votes = [vote("carol", REJECT)]
    apart = tally(two, groups, NOBODY, votes, unattributed=False)
    assert apart.state is RequestState.PENDING
    aliases = [frozenset({"7", "bob"})]
    assert tally(two, groups, NOBODY, votes, unattributed=False, aliases=aliases).state is REJECTED


def test_without_a_veto_a_requesters_other_name_is_nobody_who_could_still_approve():
    one, groups = replace(bar(Seat("owners", 1)), veto=False), {"owners": frozenset({"7", "bob", "carol"})}
    votes, aliases = [vote("carol", REJECT)], [frozenset({"7", "bob"})]
    result = tally(one, groups, frozenset({"bob"}), votes, unattributed=False, aliases=aliases)
    assert result.state is REJECTED
