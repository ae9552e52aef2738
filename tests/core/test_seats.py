from __future__ import annotations

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from airflow_approvals.core.seats import Seat, distinct, people_behind, spoken, unfilled

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


def test_who_sat_down_first_moves_over_for_the_next():
    groups = {"owners": frozenset({"bob", "carol"}), "security": frozenset({"bob"})}
    assert unfilled(BOTH, groups, people("bob", "carol")) == ()


names = st.sampled_from("abcd")
groups = st.fixed_dictionaries({group: st.frozensets(names, min_size=1, max_size=3) for group in "xyz"})
seats = st.lists(
    st.builds(Seat, st.sampled_from("xyz"), st.just(1)), min_size=2, unique_by=lambda seat: seat.group
)


@given(groups, seats, st.frozensets(names, min_size=1))
def test_as_many_seats_are_filled_as_by_the_best_of_all_seatings(groups, seats, sitting):
    nobody = [""] * len(seats)
    seatings = permutations([*sitting, *nobody], len(seats))
    best = max(sum(n in groups[s.group] for n, s in zip(order, seats, strict=True)) for order in seatings)
    assert len(seats) - len(unfilled(seats, groups, people(*sitting))) == best


def test_who_shares_a_name_is_one_person():
    called = [frozenset({"17", "bob"}), frozenset({"bob"}), frozenset({"U1", "17"}), frozenset({"dana"})]
    for order in permutations(called):
        assert set(distinct(order)) == {frozenset({"17", "bob", "U1"}), frozenset({"dana"})}


def test_who_has_an_id_and_a_name_is_one_person_behind_both():
    aliases = [frozenset({"7", "bob"}), frozenset({"bob", "robert"}), frozenset({"9", "erin"})]
    assert people_behind({"7", "bob", "carol"}, aliases) == [
        frozenset({"7", "bob", "robert"}),
        frozenset({"carol"}),
    ]


def test_a_person_is_spoken_of_by_name():
    assert spoken(frozenset({"7", "bob"})) == "bob"
    assert spoken(frozenset({"7"})) == "7"
