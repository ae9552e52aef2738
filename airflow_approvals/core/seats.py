"""Seats: which groups must be heard, and whether given people fill them.

1. A seat is filled by one person who is in its group.
2. One person fills one seat, whatever groups they are in and whatever names they go by.
3. Seats are filled by a real assignment (a maximum bipartite matching), not by counting per
   group: two people who are both in two groups fill two seats, not four.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

#: Who is in which group: ids or names of people, as the auth manager gives them.
Groups = Mapping[str, frozenset[str]]

#: A person as the set of everything they are called (id, name).
Names = frozenset[str]


@dataclass(frozen=True, order=True)
class Seat:
    """So many distinct people of one group; ``count`` is at least 1."""

    group: str
    count: int


def unfilled(seats: Sequence[Seat], groups: Groups, people: Collection[Names]) -> tuple[Seat, ...]:
    """Return what is still missing when these people sit down as well as they can.

    The answer does not depend on the order of ``people``.

    :param people: distinct people; see :func:`distinct`.
    """
    taken = _assign(seats, groups, people)
    return tuple(
        Seat(seat.group, seat.count - len(sitting))
        for seat, sitting in zip(seats, taken, strict=True)
        if seat.count > len(sitting)
    )


def who_helps(
    seats: Sequence[Seat], groups: Groups, people: Sequence[Names], others: Iterable[Names]
) -> Iterator[Names]:
    """Yield those of the others with whom more seats are filled, or anybody where none is empty.

    Somebody already seated may move for them, to a seat of another of their groups.
    """
    helps: dict[frozenset[str], bool] = {}
    missing = _count(unfilled(seats, groups, people))
    for person in others:
        member_of = frozenset(seat.group for seat in seats if person & groups.get(seat.group, frozenset()))
        if member_of not in helps:
            helps[member_of] = not missing or _count(unfilled(seats, groups, [*people, person])) < missing
        if helps[member_of]:
            yield person


def _count(seats: Iterable[Seat]) -> int:
    return sum(seat.count for seat in seats)


def distinct(names: Collection[Names]) -> list[Names]:
    """Merge whoever shares an id or a name: they are taken for one person.

    An account that reaches us as an id by one channel and as a name by another must not count
    twice; two people merged by mistake only ask for one vote more.
    """
    people: list[Names] = []
    for called in names:
        same = [person for person in people if person & called]
        people = [person for person in people if not person & called]
        people.append(called.union(*same))
    return people


def people_behind(names: Iterable[str], aliases: Iterable[Names]) -> list[Names]:
    """Return the people whom these names mean, each once, with all they are known to be called.

    :param aliases: what one person each is called; a name in none of them is a person of its own.
    """
    whole: dict[str, Names] = {}
    for called in aliases:
        joined = called.union(*(whole[name] for name in called if name in whole))
        whole |= dict.fromkeys(joined, joined)
    return list(dict.fromkeys(whole.get(name, frozenset({name})) for name in sorted(names)))


def spoken(person: Names) -> str:
    """Return what to call a person: a name rather than a number."""
    return min(person, key=lambda name: (name.isdigit(), name))


def _assign(seats: Sequence[Seat], groups: Groups, people: Collection[Names]) -> list[list[Names]]:
    """Return who sits where in a maximum matching, found by augmenting paths.

    The chairs of one group are alike, so a path never visits a group twice and is no longer than
    there are groups, however many people sit down.

    Source: H. W. Kuhn, The Hungarian method for the assignment problem (1955).
    """
    taken: list[list[Names]] = [[] for _ in seats]

    def sit(person: Names, tried: set[int]) -> bool:
        for number, seat in enumerate(seats):
            if number in tried or not person & groups.get(seat.group, frozenset()):
                continue
            tried.add(number)
            if len(taken[number]) < seat.count:
                taken[number].append(person)
                return True
            for place, sitting in enumerate(taken[number]):
                if sit(sitting, tried):
                    taken[number][place] = person
                    return True
        return False

    for person in sorted(people, key=sorted):
        sit(person, set())
    return taken
