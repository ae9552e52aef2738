"""How a rule's ``when`` is read: a bare value, or ``eq``, ``in``, ``gte``, ``lte`` and ``glob``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from airflow_approvals.core.classification import Label
from airflow_approvals.core.matching import ANYTHING, FLAGS, NUMBERS, Matcher, Range
from airflow_approvals.core.policy import Sink
from airflow_approvals.core.policy_fields import At

_MOST = 2**63 - 1
_TEXTS = ("action", "dag", "profile")
#: What ``when`` can be about.
KEYS = ("sink", "action", "label", "dag", "profile", *NUMBERS, *FLAGS)


@dataclass(frozen=True)
class When:
    """Every matcher of a rule, by the names that the rule has for them."""

    sink: Matcher
    label: Matcher
    action: Matcher
    dag: Matcher
    profile: Matcher
    numbers: tuple[tuple[str, Range], ...]
    flags: tuple[tuple[str, bool], ...]


def read_when(at: At, sinks: Mapping[str, Sink]) -> When:
    """Read what the facts of a request must be; ``{}`` matches every request."""
    fields = at.object(optional=KEYS)
    texts = {key: text_matcher(fields.get(key)) for key in _TEXTS}
    return When(
        sink=sink_matcher(fields.get("sink"), sinks),
        label=label_matcher(fields.get("label")),
        numbers=tuple((key, _range(fields[key], key)) for key in NUMBERS if key in fields),
        flags=tuple((key, (_exact(fields[key]) or fields[key]).flag()) for key in FLAGS if key in fields),
        **texts,
    )


def text_matcher(at: At | None) -> Matcher:
    """Read what a text must be: a bare text, ``eq``, ``in`` or ``glob``; absent matches all."""
    if at is None:
        return ANYTHING
    if (exact := _exact(at)) is not None:
        return Matcher(one_of=frozenset({exact.text()}))
    fields = _conditions(at, ("in", "glob"))
    matcher = Matcher(
        one_of=frozenset(fields["in"].texts()) if "in" in fields else None,
        glob=fields["glob"].text() if "glob" in fields else None,
    )
    if matcher.one_of and not any(map(matcher.matches_text, matcher.one_of)):
        at.fail("nothing in the list fits glob.")
    return matcher


def sink_matcher(at: At | None, sinks: Iterable[str] | Mapping[str, Sink]) -> Matcher:
    """Read what the sink must be; a name or pattern that fits no sink is a typing error."""
    matcher = text_matcher(at)
    if at is None:
        return matcher
    known = list(sinks)
    for name in sorted(matcher.one_of or ()):
        if name not in known:
            at.fail(f"there is no sink {name}.", f"The sinks are {', '.join(sorted(known))}.")
    if matcher.glob is not None and not any(fnmatchcase(name, matcher.glob) for name in known):
        at.fail(f"no sink fits {matcher.glob}.", f"The sinks are {', '.join(sorted(known))}.")
    return matcher


def label_matcher(at: At | None) -> Matcher:
    """Read what the label must be: a bare label, ``eq``, ``in``, ``gte`` or ``lte``; absent matches all."""
    if at is None:
        return ANYTHING
    if (exact := _exact(at)) is not None:
        return Matcher(one_of=frozenset({read_label(exact).word}))
    fields = _conditions(at, ("in", "gte", "lte"))
    if "in" in fields:
        fields["in"].texts()
    matcher = Matcher(
        one_of=frozenset(read_label(item).word for item in fields["in"].items()) if "in" in fields else None,
        at_least=read_label(fields["gte"]) if "gte" in fields else None,
        at_most=read_label(fields["lte"]) if "lte" in fields else None,
    )
    if not any(map(matcher.matches_label, Label)):
        at.fail("no label is all of this.")
    return matcher


def read_label(at: At) -> Label:
    """Read a label by its word."""
    return Label.parse(at.one_of(label.word for label in Label))


def read_number(at: At, key: str) -> float:
    """Read a value of one of the numbers: a share from 0 to 1 for ``coverage``, otherwise a count."""
    return at.number(0, 1) if key == "coverage" else at.whole(0, _MOST)


def _range(at: At, key: str) -> Range:
    if (exact := _exact(at)) is not None:
        number = read_number(exact, key)
        return Range(number, number)
    fields = {name: read_number(value, key) for name, value in _conditions(at, ("gte", "lte")).items()}
    range_ = Range(fields.get("gte"), fields.get("lte"))
    if range_.least is not None and range_.most is not None and range_.least > range_.most:
        at.fail("no number is at least gte and at most lte.")
    return range_


def _exact(at: At) -> At | None:
    """Return the one value asked for, bare or below ``eq``, which stands alone; else ``None``."""
    if not isinstance(at.value, Mapping):
        return at
    return at.object(optional=("eq",))["eq"] if "eq" in at.value else None


def _conditions(at: At, known: Iterable[str]) -> dict[str, At]:
    fields = at.object(optional=known)
    if not fields:
        at.fail("an empty condition says nothing.", f"Leave it out, or use {', '.join(known)}.")
    return fields
