"""How fast a policy of 200 rules and 1,000 people loads, and what one decision spends on it.

A decision judges the facts by the active policy, takes the stricter of that and the pinned bar,
and seats the voters among 1,000 members. Both are measured in processor time, so that what else
the machine does counts for nothing, and both have a goal: missing one ends with exit code 1. One whole
``decide()`` on a SQLite metadata database, with locks, ledger and commits, is reported by the clock
beside them and has none: most of it is the database's. The last line is one JSON document:
medians in milliseconds, which goals they reach, and whether a whole decision stays under the same
5 ms.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from airflow_approvals.config.policy_file import read_policy_text
from airflow_approvals.core.bar import Bar, stricter
from airflow_approvals.core.classification import Label
from airflow_approvals.core.decision import tally
from airflow_approvals.core.facts import Facts
from airflow_approvals.core.models import Channel, Person, Refusal, Verdict, Vote
from airflow_approvals.core.policy import Policy

if TYPE_CHECKING:
    from airflow_approvals.core.ask import Ask
    from tests.control.airflow_scene import Run

RULES, PEOPLE, GROUPS = 200, 1_000, 20
LOADS, DECISIONS, VOTES = 7, 200, 20
_SINKS = [f"sink-{letter}" for letter in "abcdefghij"]
GOALS = {"load_under_1s": 1_000.0, "decide_under_5ms": 5.0}


def policy_text() -> str:
    """Return a policy file of the size to be measured; a fifth of its rules have a condition."""
    people = [f"person-{number:04}" for number in range(PEOPLE)]
    document = {
        "version": 1,
        "sinks": [_sink(number) for number in range(len(_SINKS))],
        "groups": {f"group-{number}": {"users": people[number::GROUPS]} for number in range(GROUPS)},
        "identities": {"slack": {"team": "T1", "users": {f"U{p}": p for p in people}}},
        "rules": [_rule(number) for number in range(RULES)],
    }
    return yaml.safe_dump(document, sort_keys=False)


def _sink(number: int) -> dict[str, object]:
    place = {"connection": _SINKS[number].replace("-", "_"), "uri_prefix": f"s3://{_SINKS[number]}"}
    return {"id": _SINKS[number], **place, "assurance": "run-bound"}


def _rule(number: int) -> dict[str, object]:
    rule: dict[str, object] = {
        "id": f"rule-{number}",
        "when": {
            "sink": _SINKS[number % len(_SINKS)],
            "dag": {"glob": f"*{'exgt'[number % 4]}*"},
            "label": {"gte": "internal"},
            "rows": {"lte": 1_000 + number},
        },
        "effect": "require",
        "seats": [{"group": f"group-{(number + step) % GROUPS}", "count": 2} for step in range(2)],
        "channels": {"ui": "decide", "slack": "decide", "api": "decide"},
        "ticket": "[A-Z]{2,10}-[0-9]{1,7}",
    }
    return {**rule, "if": "level >= 1 && data.rows > 0"} if number % 5 == 0 else rule


def decide(policy: Policy, facts: Facts, pinned: Bar) -> None:
    """Do what one decision does with a policy: judge, take the stricter, seat everybody."""
    bar = stricter(pinned, policy.judge(facts))
    now = datetime.now(UTC)
    voters = [
        Person(name, name) for seat in bar.seats for name in sorted(policy.listed_groups[seat.group])[:2]
    ]
    votes = [Vote(person, Verdict.APPROVE, "checked", Channel.UI, now) for person in voters]
    result = tally(bar, policy.listed_groups, frozenset({"someone"}), votes, unattributed=False)
    if result.missing or len(bar.rules) < 2:
        raise SystemExit(f"The benchmark's decision is none: {result}")


def milliseconds(work: Callable[[], object], times: int) -> float:
    """Return the median of so many runs."""
    spent = []
    for _ in range(times):
        started = time.process_time()
        work()
        spent.append(time.process_time() - started)
    return statistics.median(spent) * 1000


def whole_decision(text: str) -> float:
    """Return the median of whole decisions in milliseconds by the clock: one vote on each request."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"AIRFLOW_HOME": folder, "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING"}
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        from tests.control import airflow_database, airflow_scene

        engine = airflow_database.new_engine(f"sqlite:///{Path(folder) / 'airflow.db'}")
        with airflow_database.in_place_of_airflows(engine) as patch:
            airflow_database.initialise(engine)
            scene = airflow_scene.Airflow(
                airflow_scene.Database(engine),
                Path(folder),
                lambda option, value: patch.setenv(f"AIRFLOW__APPROVALS__{option.upper()}", value),
            )
            scene.activate(text)
            scene.add_key()
            scene.add_connection()
            spent = [_vote(scene.a_run(), airflow_scene.an_ask(ticket="OPS-1")) for _ in range(VOTES)]
        engine.dispose()
    return statistics.median(spent) * 1000


def _vote(run: Run, ask: Ask) -> float:
    request = run.ask(ask)
    started = time.perf_counter()
    answer = run.vote(request, Person("person-0000", "person-0000"))
    seconds = time.perf_counter() - started
    if isinstance(answer, Refusal):
        raise SystemExit(f"The benchmark's vote is refused: {answer}")
    return seconds


def main() -> None:
    """Measure and print."""
    text = policy_text()
    policy = read_policy_text(text, "the benchmark's policy")
    facts = Facts("export", "sink-a", Label.CONFIDENTIAL, "gated", 500)
    pinned = policy.judge(facts)
    figures = {
        "load_ms": milliseconds(lambda: read_policy_text(text, "the benchmark's policy"), LOADS),
        "decide_ms": milliseconds(lambda: decide(policy, facts, pinned), DECISIONS),
        "whole_decision_ms": whole_decision(text),
    }
    for name, figure in figures.items():
        print(f"{name}: {figure:,.2f}")
    reached = {
        "load_under_1s": figures["load_ms"] < GOALS["load_under_1s"],
        "decide_under_5ms": figures["decide_ms"] < GOALS["decide_under_5ms"],
    }
    rounded = {name: round(figure, 2) for name, figure in figures.items()}
    whole = {"under_5ms": figures["whole_decision_ms"] < GOALS["decide_under_5ms"], "is_a_goal": False}
    print(json.dumps({"name": "policy", "figures": rounded, "reached": reached, "whole_decision": whole}))
    if missed := [name for name, is_reached in reached.items() if not is_reached]:
        raise SystemExit(f"Goals that are missed: {', '.join(missed)}.")


if __name__ == "__main__":
    main()
