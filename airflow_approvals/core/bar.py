"""The bar: what has to be cleared before a request is approved, and which of two is stricter."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from airflow_approvals.core.documents import Fields
from airflow_approvals.core.durations import LONGEST
from airflow_approvals.core.models import Channel
from airflow_approvals.core.seats import Seat
from airflow_approvals.errors import ContractError

Word = TypeVar("Word", "EvidenceDemand", "Unattributed")


class Effect(enum.StrEnum):
    """What a rule does to what it matches, strictest first."""

    FORBID = "forbid"
    REQUIRE = "require"
    PERMIT = "permit"


class EvidenceDemand(enum.StrEnum):
    """Whose word on the data counts: the task's that scanned it, or only the custodian's."""

    REPORTED = "reported"
    VERIFIED = "verified"


class Unattributed(enum.StrEnum):
    """What becomes of a run that nobody can be named for."""

    TWO_PEOPLE = "two_people"
    FORBID = "forbid"


@dataclass(frozen=True, order=True)
class Escalation:
    """After so long without a decision, these people are told as well. It adds eyes, no votes."""

    after: timedelta
    group: str


@dataclass(frozen=True)
class Standing:
    """How far one approval may carry: so many later requests, within so long, while all is alike."""

    uses: int
    within: timedelta


@dataclass(frozen=True)
class Bar:
    """The bar that a request has to clear.

    ``rules`` are the ids of the rules that set it; none means that no rule matched.
    ``deciding`` are the channels by which a vote counts. Times to live are whole seconds.
    ``requester_reason``, ``approver_reason`` and ``ticket`` are patterns (whole-text matches), and
    a text has to match every one; none asks for nothing. With ``veto`` one rejection is final;
    without it a rejection is final once the seats can no longer be filled.
    """

    effect: Effect
    rules: tuple[str, ...]
    seats: tuple[Seat, ...]
    deciding: frozenset[Channel]
    request_ttl: timedelta
    grant_ttl: timedelta
    requester_reason: tuple[str, ...] = ()
    approver_reason: tuple[str, ...] = ()
    ticket: tuple[str, ...] = ()
    remind: tuple[timedelta, ...] = ()
    escalate: tuple[Escalation, ...] = ()
    evidence: EvidenceDemand = EvidenceDemand.REPORTED
    unattributed: Unattributed = Unattributed.TWO_PEOPLE
    veto: bool = True
    standing: Standing | None = None

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object; durations are whole seconds."""
        standing = self.standing
        return {
            "effect": self.effect.value,
            "rules": list(self.rules),
            "seats": [{"group": seat.group, "count": seat.count} for seat in self.seats],
            "deciding": sorted(channel.value for channel in self.deciding),
            "request_ttl_seconds": _seconds(self.request_ttl),
            "grant_ttl_seconds": _seconds(self.grant_ttl),
            "requester_reason": list(self.requester_reason),
            "approver_reason": list(self.approver_reason),
            "ticket": list(self.ticket),
            "remind_seconds": [_seconds(after) for after in self.remind],
            "escalate": [{"after_seconds": _seconds(e.after), "group": e.group} for e in self.escalate],
            "evidence": self.evidence.value,
            "unattributed": self.unattributed.value,
            "veto": self.veto,
            "standing": None
            if standing is None
            else {"uses": standing.uses, "within_seconds": _seconds(standing.within)},
        }

    @classmethod
    def from_document(cls, document: object) -> Bar:
        """Read the JSON object; :raises ContractError: when it breaks the schema."""
        fields = Fields(document, "bar")
        try:
            bar = cls(
                effect=Effect(fields.text("effect")),
                rules=fields.texts("rules"),
                seats=tuple(_seat(item) for item in fields.items("seats")),
                deciding=frozenset(Channel(word) for word in fields.texts("deciding")),
                request_ttl=timedelta(seconds=fields.count("request_ttl_seconds")),
                grant_ttl=timedelta(seconds=fields.count("grant_ttl_seconds")),
                requester_reason=fields.texts("requester_reason"),
                approver_reason=fields.texts("approver_reason"),
                ticket=fields.texts("ticket"),
                remind=tuple(_duration(item) for item in fields.items("remind_seconds")),
                escalate=tuple(_escalation(item) for item in fields.items("escalate")),
                evidence=EvidenceDemand(fields.text("evidence")),
                unattributed=Unattributed(fields.text("unattributed")),
                veto=_flag(fields.raw("veto")),
                standing=_standing(fields.raw("standing")),
            )
        except (ValueError, OverflowError):
            raise ContractError("bar: a word or a duration has no valid form.") from None
        fields.end()
        return bar


#: What is asked of a sink that nothing allows.
NOTHING_ALLOWS_IT = Bar(Effect.FORBID, (), (), frozenset(), LONGEST, LONGEST)


def stricter(a: Bar, b: Bar) -> Bar:
    """Return the bar that clears both: whoever clears it has cleared each of them."""
    request_ttl = min(a.request_ttl, b.request_ttl)
    grant_ttl = min(a.grant_ttl, b.grant_ttl)
    forbidding = [bar for bar in (a, b) if bar.effect is Effect.FORBID]
    if forbidding:
        return Bar(Effect.FORBID, _rules(*forbidding), (), frozenset(), request_ttl, grant_ttl)
    requiring = [bar for bar in (a, b) if bar.effect is Effect.REQUIRE]
    evidence = _strictest(EvidenceDemand.VERIFIED, a.evidence, b.evidence)
    if not requiring:
        return Bar(Effect.PERMIT, _rules(a, b), (), frozenset(), request_ttl, grant_ttl, evidence=evidence)
    deciding = frozenset.intersection(*(bar.deciding for bar in requiring))
    if not deciding:
        return Bar(Effect.FORBID, _rules(a, b), (), frozenset(), request_ttl, grant_ttl)
    return Bar(
        effect=Effect.REQUIRE,
        rules=_rules(a, b),
        seats=_seats(*requiring),
        deciding=deciding,
        request_ttl=request_ttl,
        grant_ttl=grant_ttl,
        requester_reason=_union(*(bar.requester_reason for bar in requiring)),
        approver_reason=_union(*(bar.approver_reason for bar in requiring)),
        ticket=_union(*(bar.ticket for bar in requiring)),
        remind=tuple(sorted({after for bar in requiring for after in bar.remind})),
        escalate=tuple(sorted({one for bar in requiring for one in bar.escalate})),
        evidence=evidence,
        unattributed=_strictest(Unattributed.FORBID, *(bar.unattributed for bar in requiring)),
        veto=any(bar.veto for bar in requiring),
        standing=_narrower(*(bar.standing for bar in requiring)),
    )


def _rules(*bars: Bar) -> tuple[str, ...]:
    return tuple(dict.fromkeys(rule for bar in bars for rule in bar.rules))


def _union(*several: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for texts in several for text in texts))


def _seats(*bars: Bar) -> tuple[Seat, ...]:
    counts: dict[str, int] = {}
    for bar in bars:
        for seat in bar.seats:
            counts[seat.group] = max(seat.count, counts.get(seat.group, 0))
    return tuple(Seat(group, count) for group, count in sorted(counts.items()))


def _strictest(strict: Word, *words: Word) -> Word:
    return strict if strict in words else words[0]


def _narrower(*several: Standing | None) -> Standing | None:
    """Return what every rule allows; one rule without a standing grant rules it out."""
    present = [standing for standing in several if standing is not None]
    if len(present) < len(several):
        return None
    return Standing(min(one.uses for one in present), min(one.within for one in present))


def _seconds(duration: timedelta) -> int:
    return int(duration.total_seconds())


def _seat(item: object) -> Seat:
    fields = Fields(item, "bar: seat")
    seat = Seat(fields.text("group"), fields.count("count"))
    fields.end()
    return seat


def _escalation(item: object) -> Escalation:
    fields = Fields(item, "bar: escalation")
    escalation = Escalation(timedelta(seconds=fields.count("after_seconds")), fields.text("group"))
    fields.end()
    return escalation


def _standing(item: object) -> Standing | None:
    if item is None:
        return None
    fields = Fields(item, "bar: standing")
    standing = Standing(fields.count("uses"), timedelta(seconds=fields.count("within_seconds")))
    fields.end()
    return standing


def _duration(item: object) -> timedelta:
    if type(item) is not int or item < 0:
        raise ValueError
    return timedelta(seconds=item)


def _flag(item: object) -> bool:
    if item is not True and item is not False:
        raise ValueError
    return item
