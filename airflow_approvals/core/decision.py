"""The decision: who may vote, and what the votes so far come to. Pure; time is the caller's.

1. Whoever started or shaped the run has no vote, whatever groups they are in. No exception.
2. A vote counts when its person is in the group of a seat, and came by a channel that decides.
3. Eligibility is judged anew for every vote at every tally: who has left the group since, or
   has shaped the run since, no longer counts.
4. With a veto, one rejection that counts is a rejection, however many approvals there are.
   Without, it is one once the others can no longer fill the seats.
5. An approval needs every seat filled, one person to a seat, by a real assignment. Where a rule
   asks approvers for a reason, an approval whose reason does not match does not count.
6. A run that nobody can be named for needs two distinct approvers, whatever the seats say, or is
   forbidden, where a rule says so.
7. The order of the votes never matters. Silence is never an approval.
8. What is forbidden stays forbidden under any votes; what is permitted needs none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from airflow_approvals.core.bar import Bar, Effect, Unattributed
from airflow_approvals.core.models import Channel, Person, Refusal, RequestState, Verdict, Vote
from airflow_approvals.core.seats import Groups, Names, Seat, distinct, people_behind, unfilled
from airflow_approvals.core.wording import first_unmatched

#: Rule 6.
LEAST_APPROVERS_OF_UNATTRIBUTED = 2
NOBODY_NAMED = "Nobody can be named who started this run, and the policy forbids that for this sink."
_MORE_PEOPLE = "nobody can be named who started this run, so it needs one more person."


@dataclass(frozen=True)
class Tally:
    """What the votes come to.

    ``because`` is a sentence once the state is terminal; while pending it reads on after
    "Your vote is recorded;". ``missing`` are the seats that nobody fills yet and ``approvals``
    counts distinct people.
    """

    state: RequestState
    because: str
    missing: tuple[Seat, ...]
    approvals: int


SELF_APPROVAL = Refusal(
    "self_approval", "You started or shaped this run, so somebody else has to decide.", 403
)


def eligible(
    bar: Bar, groups: Groups, requesters: frozenset[str], person: Person, channel: Channel
) -> Refusal | None:
    """Return why this person may not vote by this channel, or ``None`` when they may.

    :param groups: who is in which group now; ids or names.
    :param requesters: ids and names of everybody known to have started or shaped the run.
    :returns: a refusal ``self_approval``, ``not_eligible`` or ``channel_views_only``, all 403.
    """
    names = names_of(person)
    if names & requesters:
        return SELF_APPROVAL
    if not any(names & groups.get(seat.group, frozenset()) for seat in bar.seats):
        return Refusal("not_eligible", "You are in none of the groups that decide this request.", 403)
    if channel not in bar.deciding:
        return Refusal(
            "channel_views_only",
            f"This request can be seen here, but not decided; decide it by {_listed(bar.deciding)}.",
            403,
        )
    return None


def tally(
    bar: Bar,
    groups: Groups,
    requesters: frozenset[str],
    votes: Iterable[Vote],
    *,
    unattributed: bool,
    unknown: Collection[str] = (),
    aliases: Collection[Names] = (),
) -> Tally:
    """Return what the votes come to under this bar.

    :param unattributed: whether nobody can be named who started the run.
    :param aliases: what one person each is called, where a group holds both id and name.
    :param unknown: groups that could not be asked; nobody fills their seats now, but somebody may.
    """
    if bar.effect is Effect.FORBID:
        return Tally(RequestState.FORBIDDEN, "The policy forbids it.", (), 0)
    if bar.effect is Effect.PERMIT:
        return Tally(RequestState.APPROVED, "The policy permits it without a vote.", (), 0)
    if unattributed and bar.unattributed is Unattributed.FORBID:
        return Tally(RequestState.FORBIDDEN, NOBODY_NAMED, (), 0)
    counted = [vote for vote in votes if eligible(bar, groups, requesters, vote.person, vote.channel) is None]
    rejecting = [vote.person for vote in counted if vote.verdict is Verdict.REJECT]
    said_no = frozenset().union(*(names_of(person) for person in rejecting))
    approving = [
        vote.person for vote in counted if _approves(bar, vote) and not names_of(vote.person) & said_no
    ]
    people = distinct([names_of(person) for person in approving])
    missing = unfilled(bar.seats, groups, people)
    least = LEAST_APPROVERS_OF_UNATTRIBUTED if unattributed else 0
    pending = _still_missing(missing) if missing else _MORE_PEOPLE if len(people) < least else ""
    others = _others(bar, groups, people, requesters | said_no, aliases) if rejecting and pending else people
    hopeless = len(others) < least or unfilled(bar.seats, groups, others)
    if rejecting and (bar.veto or (hopeless and not _seated(bar) & set(unknown))):
        return Tally(RequestState.REJECTED, f"Rejected by {_called(rejecting)}.", missing, len(people))
    if pending:
        return Tally(RequestState.PENDING, pending, missing, len(people))
    return Tally(RequestState.APPROVED, f"Approved by {_called(approving)}.", (), len(people))


def _approves(bar: Bar, vote: Vote) -> bool:
    return vote.verdict is Verdict.APPROVE and first_unmatched(bar.approver_reason, vote.reason) is None


def _others(
    bar: Bar,
    groups: Groups,
    approving: Collection[Names],
    barred: frozenset[str],
    aliases: Collection[Names],
) -> Collection[Names]:
    """Return everybody who has approved or still could."""
    known = barred.union(*approving)
    members = frozenset().union(*(groups.get(seat.group, frozenset()) for seat in bar.seats))
    return [*approving, *(person for person in people_behind(members, aliases) if not person & known)]


def _seated(bar: Bar) -> set[str]:
    return {seat.group for seat in bar.seats}


def _called(people: Collection[Person]) -> str:
    return ", ".join(sorted({person.name for person in people}))


def names_of(person: Person) -> Names:
    """Return what a person is called: the id and the name."""
    return frozenset({person.id, person.name})


def _still_missing(missing: Collection[Seat]) -> str:
    seats = " and ".join(f"{seat.count} of {seat.group}" for seat in missing)
    return f"it still needs {seats}."


def _listed(channels: Collection[Channel]) -> str:
    return ", ".join(sorted(channel.value for channel in channels)) or "no channel"
