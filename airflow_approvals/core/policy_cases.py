"""How the test cases of a policy file are read."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from airflow_approvals.core.bar import Effect
from airflow_approvals.core.cases import Case
from airflow_approvals.core.facts import Facts
from airflow_approvals.core.groups import Group
from airflow_approvals.core.policy_fields import At
from airflow_approvals.core.policy_matching import KEYS, read_label, read_number
from airflow_approvals.core.policy_people import known_group
from airflow_approvals.core.seats import Seat

_EFFECTS = [effect.value for effect in Effect]
_MOST_SEATS = 100
#: A share is told as so many cells of this many.
_CELLS = 10**9


def read_cases(at: At, groups: Mapping[str, Group], rules: Collection[str]) -> tuple[Case, ...]:
    """Read the cases; rules and groups that there are not are typing errors."""
    return tuple(_case(item, groups, rules) for item in at.items())


def _case(at: At, groups: Mapping[str, Group], rules: Collection[str]) -> Case:
    fields = at.object(required=("given", "expect"), optional=("name",))
    name = fields["name"].text() if "name" in fields else at.path
    facts, expect = _facts(fields["given"]), fields["expect"]
    if not isinstance(expect.value, Mapping):
        return Case(name, facts, Effect(expect.one_of(_EFFECTS)))
    expected = expect.object(required=("effect",), optional=("seats", "rules"))
    return Case(
        name,
        facts,
        Effect(expected["effect"].one_of(_EFFECTS)),
        _seats(expected["seats"], groups) if "seats" in expected else None,
        _rules(expected["rules"], rules) if "rules" in expected else None,
    )


def _facts(at: At) -> Facts:
    """Read the facts of a case: by the keys of ``when``; what is not said is nothing or not known."""
    fields = at.object(required=("sink", "label"), optional=KEYS)

    def count(key: str) -> int:
        return int(read_number(fields[key], key)) if key in fields else 0

    def text(key: str, default: str = "") -> str:
        return fields[key].text() if key in fields else default

    def flag(key: str) -> bool:
        return fields[key].flag() if key in fields else False

    coverage = read_number(fields["coverage"], "coverage") if "coverage" in fields else None
    return Facts(
        action=text("action", "export"),
        sink=text("sink"),
        label=read_label(fields["label"]),
        dag_id=text("dag"),
        rows=count("rows"),
        objects=count("objects"),
        size=count("bytes"),
        profile=text("profile"),
        residual=count("residual") if "residual" in fields else None,
        scanned=round((coverage or 0) * _CELLS),
        total=0 if coverage is None else _CELLS,
        not_scanned=count("not_scanned"),
        verified=flag("verified"),
        unattributed=flag("unattributed"),
    )


def _seats(at: At, groups: Mapping[str, Group]) -> frozenset[Seat]:
    counts = at.mapping()
    for name, count in counts.items():
        known_group(At(name, count.path), groups)
    return frozenset(Seat(name, count.whole(1, _MOST_SEATS)) for name, count in counts.items())


def _rules(at: At, known: Collection[str]) -> frozenset[str]:
    items = at.items()
    for item in items:
        if item.text() not in known:
            item.fail(f"there is no rule {item.value}.")
    return frozenset(item.text() for item in items)
