"""The decision: who may vote, and what the votes so far come to. Pure; time is the caller's.

1. Whoever started or shaped the run has no vote, whatever groups they are in. No exception.
2. A vote counts when its person is in the group of a seat, and came by a channel that decides.
3. Eligibility is judged anew for every vote at every tally: who has left the group since, or
   has shaped the run since, no longer counts.
4. One rejection that counts is a rejection, however many approvals there are.
5. An approval needs every seat filled, one person to a seat, by a real assignment.
6. A run that nobody can be named for needs two distinct approvers, whatever the seats say.
7. The order of the votes never matters. Silence is never an approval.
8. What is forbidden stays forbidden under any votes; what is permitted needs none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from airflow_approvals.core.models import Channel, Person, Refusal, RequestState, Verdict, Vote
from airflow_approvals.core.policy import Bar, Effect, Seat
from airflow_approvals.core.seats import Groups, Names, distinct, unfilled

#: Rule 6.
LEAST_APPROVERS_OF_UNATTRIBUTED = 2


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


def eligible(
    bar: Bar, groups: Groups, requesters: frozenset[str], person: Person, channel: Channel
) -> Refusal | None:
    """Return why this person may not vote by this channel, or ``None`` when they may.

    :param groups: who is in which group now; ids or names.
    :param requesters: ids and names of everybody known to have started or shaped the run.
    :returns: a refusal ``self_approval``, ``not_eligible`` or ``channel_views_only``, all 403.
    """
    names = _names(person)
    if names & requesters:
        return Refusal(
            "self_approval", "You started or shaped this run, so somebody else has to decide.", 403
        )
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
) -> Tally:
    """Return what the votes come to under this bar.

    :param unattributed: whether nobody can be named who started the run.
    """
    if bar.effect is Effect.FORBID:
        return Tally(RequestState.FORBIDDEN, "The policy forbids it.", (), 0)
    if bar.effect is Effect.PERMIT:
        return Tally(RequestState.APPROVED, "The policy permits it without a vote.", (), 0)
    counted = [vote for vote in votes if not _refused(bar, groups, requesters, vote)]
    approving = [vote for vote in counted if vote.verdict is Verdict.APPROVE]
    people = distinct([_names(vote.person) for vote in approving])
    missing = unfilled(bar.seats, groups, people)
    rejecting = sorted({vote.person.name for vote in counted if vote.verdict is Verdict.REJECT})
    if rejecting:
        return Tally(RequestState.REJECTED, f"Rejected by {', '.join(rejecting)}.", missing, len(people))
    if missing:
        return Tally(RequestState.PENDING, _still_missing(missing), missing, len(people))
    if unattributed and len(people) < LEAST_APPROVERS_OF_UNATTRIBUTED:
        because = "nobody can be named who started this run, so it needs one more person."
        return Tally(RequestState.PENDING, because, missing, len(people))
    names = sorted({vote.person.name for vote in approving})
    return Tally(RequestState.APPROVED, f"Approved by {', '.join(names)}.", (), len(people))


def _refused(bar: Bar, groups: Groups, requesters: frozenset[str], vote: Vote) -> bool:
    return eligible(bar, groups, requesters, vote.person, vote.channel) is not None


def _names(person: Person) -> Names:
    return frozenset({person.id, person.name})


def _still_missing(missing: Collection[Seat]) -> str:
    seats = " and ".join(f"{seat.count} of {seat.group}" for seat in missing)
    return f"it still needs {seats}."


def _listed(channels: Collection[Channel]) -> str:
    return ", ".join(sorted(channel.value for channel in channels)) or "no channel"
