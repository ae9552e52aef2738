from __future__ import annotations

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from airflow_approvals.core.seats import Seat, distinct, unfilled

GROUPS = {"owners": frozenset({"bob", "carol"}), "security": frozenset({"carol", "dana"})}
BOTH = (Seat("owners", 1), Seat("security", 1))


def people(*names):
    return [frozenset({name}) for name in names]


def test_one_person_in_two_groups_fills_one_seat():
    assert len(unfilled(BOTH, GROUPS, people("carol"))) == 1


def test_people_are_moved_until_all_seats_are_filled():
    assert unfilled(BOTH, GROUPS, people("bob", "carol")) == ()
    assert unfilled(BOTH, GROUPS, people("carol", "dana")) == ()


def test_two_people_of_one_group_leave_the_other_seat():
    groups = {**GROUPS, "owners": frozenset({"bob", "eve"})}
    assert unfilled(BOTH, groups, people("bob", "eve")) == (Seat("security", 1),)


def test_huge_counts_and_unknown_groups_are_simply_missing():
    assert unfilled((Seat("owners", 10**9),), GROUPS, people("bob")) == (Seat("owners", 10**9 - 1),)
    assert unfilled((Seat("gone", 1),), GROUPS, people("bob")) == (Seat("gone", 1),)


names = st.sampled_from("abcdef")
groups = st.dictionaries(st.sampled_from("xyz"), st.frozensets(names), min_size=3)
seats = st.lists(st.builds(Seat, st.sampled_from("xyz"), st.integers(1, 2)), unique_by=lambda s: s.group)


@given(groups, seats, st.frozensets(names, max_size=5))
def test_as_many_seats_are_filled_as_the_best_of_all_seatings(groups, seats, sitting):
    chairs = [seat.group for seat in seats for _ in range(seat.count)]
    best = (
        max(
            sum(name in groups[chair] for name, chair in zip(order, chairs, strict=False))
            for order in permutations([*sitting, *[""] * len(chairs)], len(chairs))
        )
        if len(chairs) <= 3
        else None
    )
    missing = sum(seat.count for seat in unfilled(seats, groups, people(*sitting)))
    if best is not None:
        assert missing == len(chairs) - best


def test_who_shares_a_name_is_one_person():
    called = [frozenset({"17", "bob"}), frozenset({"bob"}), frozenset({"U1", "17"}), frozenset({"dana"})]
    for order in permutations(called):
        assert set(distinct(order)) == {frozenset({"17", "bob", "U1"}), frozenset({"dana"})}
