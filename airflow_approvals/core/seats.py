"""Seats: which groups must be heard, and whether given people fill them.

1. A seat is filled by one person who is in its group.
2. One person fills one seat, whatever groups they are in and whatever names they go by.
3. Seats are filled by a real assignment (a maximum bipartite matching), not by counting per
   group: two people who are both in two groups fill two seats, not four.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
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
    chairs = [seat.group for seat in seats for _ in range(min(seat.count, len(people) + 1))]
    filled = Counter(chairs[chair] for chair in _assign(chairs, groups, people))
    return tuple(
        Seat(seat.group, seat.count - filled[seat.group]) for seat in seats if seat.count > filled[seat.group]
    )


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


def _assign(chairs: Sequence[str], groups: Groups, people: Collection[Names]) -> dict[int, Names]:
    """Return chair -> person of a maximum matching, by augmenting paths.

    Source: H. W. Kuhn, The Hungarian method for the assignment problem (1955).
    """
    taken: dict[int, Names] = {}

    def seat(person: Names, tried: set[int]) -> bool:
        for chair, group in enumerate(chairs):
            if chair in tried or not person & groups.get(group, frozenset()):
                continue
            tried.add(chair)
            if chair not in taken or seat(taken[chair], tried):
                taken[chair] = person
                return True
        return False

    for person in sorted(people, key=sorted):
        if len(taken) == len(chairs):
            break
        seat(person, set())
    return taken
