"""How a rule's ``when`` is read: a bare scalar, or ``in``, ``gte``, ``lte`` and ``glob``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from airflow_approvals.core.classification import Label
from airflow_approvals.core.policy import Matcher, Sink
from airflow_approvals.core.policy_fields import At


def text_matcher(at: At | None) -> Matcher:
    """Read what a text must be: a bare text, ``in`` or ``glob``; absent matches all."""
    if at is None:
        return Matcher()
    if not isinstance(at.value, Mapping):
        return Matcher(one_of=frozenset({at.text()}))
    fields = _conditions(at, ("in", "glob"))
    return Matcher(
        one_of=frozenset(fields["in"].texts()) if "in" in fields else None,
        glob=fields["glob"].text() if "glob" in fields else None,
    )


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
    """Read what the label must be: a bare label, ``in``, ``gte`` or ``lte``; absent matches all."""
    if at is None:
        return Matcher()
    if not isinstance(at.value, Mapping):
        return Matcher(one_of=frozenset({_label(at).word}))
    fields = _conditions(at, ("in", "gte", "lte"))
    if "in" in fields:
        fields["in"].texts()
    return Matcher(
        one_of=frozenset(_label(item).word for item in fields["in"].items()) if "in" in fields else None,
        at_least=_label(fields["gte"]) if "gte" in fields else None,
        at_most=_label(fields["lte"]) if "lte" in fields else None,
    )


def _conditions(at: At, known: Iterable[str]) -> dict[str, At]:
    fields = at.object(optional=known)
    if not fields:
        at.fail("an empty condition says nothing.", f"Leave it out, or use {', '.join(known)}.")
    return fields


def _label(at: At) -> Label:
    return Label.parse(at.one_of(label.word for label in Label))
