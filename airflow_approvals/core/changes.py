"""What has changed since the last approval of the same DAG and sink, in words for an approver.

Only names, kinds and counts are compared, never a value: column names are those of the masked copy.
What a request does not list whole is said to be not compared; silence would read as "unchanged".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from airflow_approvals.core.ask import MAX_LISTED_COUNTS, Ask

SAME_DATA = "nothing: the very same data"
NOTHING = "nothing of what is compared; the data differ"


@dataclass(frozen=True)
class Compared:
    """The sides of a request that are compared.

    ``destination`` is the URI prefix of the sink, ``connection`` stands for its Connection's
    settings (a keyed fingerprint), ``code`` for the DAG and its bundle's version.
    """

    ask: Ask
    destination: str
    connection: str
    code: tuple[str, ...]


def differences(before: Compared, now: Compared) -> tuple[str, ...]:
    """Return what differs, what weighs most first; one sentence when nothing does."""
    found = (
        *_destination(before, now),
        *_label(before.ask, now.ask),
        *_columns(before.ask, now.ask),
        *_kinds(before.ask, now.ask),
        *_residual(before.ask, now.ask),
        *_amounts(before.ask, now.ask),
        *_makers(before, now),
    )
    if found:
        return found
    return (SAME_DATA if before.ask.data.digest == now.ask.data.digest else NOTHING,)


def _destination(before: Compared, now: Compared) -> Iterator[str]:
    if before.destination != now.destination:
        yield f"destination: {before.destination or 'none'} → {now.destination or 'none'}"
    if before.connection != now.connection:
        yield "the settings of the destination's Connection"
    if before.ask.action != now.ask.action:
        yield f"action: {before.ask.action} → {now.ask.action}"


def _label(before: Ask, now: Ask) -> Iterator[str]:
    if before.label != now.label:
        yield f"label: {before.label.word} → {now.label.word}"


def _columns(before: Ask, now: Ask) -> Iterator[str]:
    if not (_lists_all_objects(before) and _lists_all_objects(now)):
        yield "columns are not compared: there are more objects than a request lists"
        return
    yield from _gone_and_new("column", _columns_of(before), _columns_of(now))


def _lists_all_objects(ask: Ask) -> bool:
    return ask.data.object_count <= len(ask.data.objects)


def _columns_of(ask: Ask) -> frozenset[str]:
    return frozenset(column for entry in ask.data.objects for column in entry.columns)


def _kinds(before: Ask, now: Ask) -> Iterator[str]:
    if max(len(before.data.counts), len(now.data.counts)) >= MAX_LISTED_COUNTS:
        yield "what was masked is not compared: there is more than a request lists"
        return
    yield from _gone_and_new("masked", _kinds_of(before), _kinds_of(now))


def _kinds_of(ask: Ask) -> frozenset[str]:
    return frozenset(f"{count.entity_type} in {count.column or 'text'}" for count in ask.data.counts)


def _gone_and_new(what: str, before: frozenset[str], now: frozenset[str]) -> Iterator[str]:
    for sign, names in (("+", now - before), ("-", before - now)):
        yield from (f"{sign} {what} {name}" for name in sorted(names))


def _residual(before: Ask, now: Ask) -> Iterator[str]:
    old, new = before.evidence_of_this_data, now.evidence_of_this_data
    if old is None or new is None:
        if (old is None) != (new is None):
            yield "scanned: " + ("no → yes" if old is None else "yes → no")
        return
    yield from _counts("still found", dict(old.findings), dict(new.findings))
    if old.not_scanned != new.not_scanned:
        yield f"objects not scanned: {_step(old.not_scanned, new.not_scanned)}"


def _counts(what: str, before: Mapping[str, int], now: Mapping[str, int]) -> Iterator[str]:
    for kind in sorted({*before, *now}):
        if before.get(kind, 0) != now.get(kind, 0):
            yield f"{what} {kind}: {_step(before.get(kind, 0), now.get(kind, 0))}"


def _amounts(before: Ask, now: Ask) -> Iterator[str]:
    pairs: Iterable[tuple[str, int, int]] = (
        ("rows", before.data.rows, now.data.rows),
        ("objects", before.data.object_count, now.data.object_count),
    )
    yield from (f"{what}: {_step(old, new)}" for what, old, new in pairs if old != new)


def _step(before: int, now: int) -> str:
    return f"{before:,} → {now:,} ({now - before:+,})"


def _makers(before: Compared, now: Compared) -> Iterator[str]:
    old, new = before.ask.data, now.ask.data
    if old.profile != new.profile:
        yield f"masking profile: {old.profile} → {new.profile}"
    elif old.profile_digest != new.profile_digest:
        yield f"what masking profile {new.profile} says"
    if old.model != new.model:
        yield f"masking model: {old.model} → {new.model}"
    if before.code != now.code:
        yield "the code of the DAG"
