from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_approvals.core.decision import eligible, tally
from airflow_approvals.core.models import Channel, Person, RequestState, Verdict, Vote
from airflow_approvals.core.policy import Bar, Effect, Seat

AT = datetime(2026, 1, 1, tzinfo=UTC)
GROUPS = {"owners": frozenset({"bob", "carol", "17"}), "security": frozenset({"carol", "dana"})}
NOBODY = frozenset()


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
