"""What a grant may open, said a second time: plain sets, and a clock in seconds.

Nothing here comes from the product. The model is an upper bound: whatever the product opens, the
model has to allow; the product may well refuse more. It goes by what people and Airflow *did*,
never by what the product has recorded of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import permutations

MINUTE = 60
CHANNELS = frozenset({"ui", "api", "slack"})


@dataclass(frozen=True)
class Bar:
    """What one policy asks for: seats by group, channels that decide, seconds to live."""

    seats: tuple[tuple[str, int], ...] = (("owners", 1),)
    effect: str = "require"
    channels: frozenset[str] = frozenset({"ui", "api"})
    veto: bool = True
    request_ttl: int = 60 * MINUTE
    grant_ttl: int = 30 * MINUTE


#: The policies that take turns; every two of them are looser, stricter or simply other.
BARS = {
    "one": Bar(),
    "two": Bar((("owners", 2),)),
    "both": Bar((("owners", 1), ("security", 1))),
    "three": Bar((("owners", 2), ("security", 1)), grant_ttl=60 * MINUTE),
    "others": Bar((("security", 1),)),
    "page": Bar(channels=frozenset({"ui"})),
    "chat": Bar(channels=CHANNELS, veto=False),
    "quick": Bar(request_ttl=10 * MINUTE, grant_ttl=5 * MINUTE),
    "free": Bar((), "permit"),
    "never": Bar((), "forbid"),
}


@dataclass
class Asked:
    """One request: for what, under which policy, until when, and who says what by which channel."""

    reason: str
    policy: str
    until: int
    open: bool = True
    votes: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass
class Held:
    """One grant: for which request, until when, and what became of it."""

    request: str
    until: int
    killed: bool = False
    spent: bool = False
    path_cleared: bool = False
    user: str | None = None


class Model:
    """One run with the tasks gate >> between >> use, and the people around it.

    :param starter: who triggered the run.
    :param groups: group to members; changed from outside.
    """

    def __init__(self, starter: str, groups: dict[str, set[str]], policy: str) -> None:
        self.now = 0
        self.groups, self.policy = groups, policy
        self.requesters = {starter}
        self.asked: dict[str, Asked] = {}
        self.grants: dict[str, Held] = {}
        self.ran: set[str] = set()

    # -- what happens --------------------------------------------------------------------------

    def asks(self, request: str, reason: str) -> None:
        """The gate asks people; what it had been granted for something else is over."""
        self.gate_left()
        for held in self.grants.values():
            held.killed |= self.asked[held.request].reason != reason
        until = self.now + BARS[self.policy].request_ttl
        self.asked[request] = Asked(reason, self.policy, until)

    def gate_left(self) -> None:
        """The gate was cleared, retried or marked, so nobody waits for the open request any more."""
        for asked in self.asked.values():
            asked.open = False

    def cleared(self, task: str, *, finished: bool) -> None:
        """Somebody cleared a task; one that was only marked, or is at work, has nothing to lose."""
        had_run = finished and task in self.ran
        self.ran.discard(task)
        for held in self.grants.values():
            held.killed |= task == "gate" or (held.spent and held.user == task)
            held.path_cleared |= task == "between" and had_run
        if task == "gate":
            self.gate_left()

    def started(self, task: str) -> None:
        self.ran.add(task)

    def opened(self, grant: str, task: str) -> None:
        self.grants[grant].user = task

    def succeeded(self, task: str) -> None:
        """The task has really ended in success; by marking it so nothing has left."""
        for held in self.grants.values():
            held.spent |= held.user == task

    def issued(self, grant: str, request: str) -> None:
        self.grants[grant] = Held(request, self.now + BARS[self.asked[request].policy].grant_ttl)

    # -- what may be ---------------------------------------------------------------------------

    def may_approve(self, request: str) -> bool:
        """Whether the request may become approved now."""
        asked = self.asked[request]
        return asked.open and self.now < asked.until and self.enough(request)

    def may_start(self, grant: str, task: str) -> bool:
        """Whether a task behind the gate may start; what follows a release still runs."""
        held = self.grants[grant]
        return not held.killed and not self._cut_off(held, task)

    def may_open(self, grant: str, task: str) -> bool:
        """Whether a running task may have the sink's credential."""
        held = self.grants[grant]
        usable = self.may_start(grant, task) and not held.spent and self.now < held.until
        same_policy = self.asked[held.request].policy == self.policy
        return usable and same_policy and held.user in (None, task) and self.enough(held.request)

    def enough(self, request: str) -> bool:
        """Whether the votes fill every seat of both policies with people of their own."""
        asked = self.asked[request]
        bars = [BARS[asked.policy], BARS[self.policy]]
        if any(bar.effect == "forbid" for bar in bars):
            return False
        bars = [bar for bar in bars if bar.effect == "require"]
        if not bars:
            return True
        chairs = self._chairs(bars)
        channels = frozenset.intersection(*(bar.channels for bar in bars))
        seated = set().union(*(self.groups[group] for group in chairs)) - self.requesters
        counted = {p: said for p, (said, by) in asked.votes.items() if p in seated and by in channels}
        if "reject" in counted.values() and any(bar.veto for bar in bars):
            return False
        approving = [person for person, said in counted.items() if said == "approve"]
        return any(
            all(person in self.groups[group] for person, group in zip(sitting, chairs, strict=True))
            for sitting in permutations(approving, len(chairs))
        )

    def _chairs(self, bars: list[Bar]) -> list[str]:
        """One group name for every person that is needed: of each group the larger demand."""
        needed = {group: 0 for bar in bars for group, _ in bar.seats}
        for bar in bars:
            for group, count in bar.seats:
                needed[group] = max(needed[group], count)
        return [group for group, count in needed.items() for _ in range(count)]

    def _cut_off(self, held: Held, task: str) -> bool:
        """Whether a task between the gate and the one that uses the grant was cleared."""
        return held.path_cleared and (held.user or task) == "use"
