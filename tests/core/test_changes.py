"""What an approver is told has changed since the last approval, and what is said not to be compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_approvals.core.ask import MAX_LISTED_COUNTS, Ask, ReportedData, ReportedEvidence
from airflow_approvals.core.changes import NOTHING, SAME_DATA, Compared, differences
from airflow_approvals.core.classification import Label
from airflow_approvals.core.digest import sha256_digest
from airflow_approvals.core.manifest import EntityCount, Manifest, ObjectEntry


def data(columns: tuple[str, ...] = ("id", "email"), rows: int = 500, **changes: Any) -> ReportedData:
    entry = ObjectEntry("tickets.csv", sha256_digest(b"x"), 6, rows, "csv", columns)
    counts = (EntityCount("email", "EMAIL_ADDRESS", 500),)
    manifest = Manifest((entry,), "llm-training", sha256_digest(b"profile"), "model 1", "0.1.0", counts)
    return replace(ReportedData.of("file:///m.json", manifest), **changes)


def side(ask_changes: dict[str, Any] | None = None, **changes: Any) -> Compared:
    reported = (ask_changes or {}).get("data", data())
    found = {"findings": (("PERSON", 3),), "not_scanned": 0, "label": Label.INTERNAL}
    found |= changes.pop("evidence", {})
    scan = ReportedEvidence(
        digest=sha256_digest(b"scan"),
        subject=reported.digest,
        scanned=9,
        total=9,
        engine="e",
        model="m",
        **found,
    )
    ask = Ask("export", "sink", reported, scan, "why", None, None, 7200)
    ask = replace(ask, **(ask_changes or {}))
    return replace(Compared(ask, "s3://a/", "fp-1", ("dag-1", "v1")), **changes)


def test_the_very_same_data_are_said_to_be_that() -> None:
    assert differences(side(), side()) == (SAME_DATA,)


def test_other_data_of_the_same_kinds_and_counts_are_not_called_the_same() -> None:
    other = data(digest=sha256_digest(b"others"))
    assert differences(side(), side({"data": other})) == (NOTHING,)


CASES: list[tuple[Compared, tuple[str, ...]]] = [
    (side({"data": data(("id", "email", "phone"))}), ("+ column phone",)),
    (side({"data": data(("id",))}), ("- column email",)),
    (side({"data": data(rows=800)}), ("rows: 500 → 800 (+300)",)),
    (side({"data": data(rows=1)}), ("rows: 500 → 1 (-499)",)),
    (side({"data": data(profile="logs")}), ("masking profile: llm-training → logs",)),
    (
        side({"data": data(profile_digest=sha256_digest(b"other"))}),
        ("what masking profile llm-training says",),
    ),
    (side({"data": data(model="model 2")}), ("masking model: model 1 → model 2",)),
    (
        side({"data": data(counts=(EntityCount("", "PHONE_NUMBER", 1),))}),
        ("+ masked PHONE_NUMBER in text", "- masked EMAIL_ADDRESS in email"),
    ),
    (side(evidence={"label": Label.RESTRICTED}), ("label: internal → restricted",)),
    (side(evidence={"findings": (("PERSON", 5),)}), ("still found PERSON: 3 → 5 (+2)",)),
    (side(evidence={"findings": ()}), ("still found PERSON: 3 → 0 (-3)",)),
    (side(evidence={"not_scanned": 2}), ("objects not scanned: 0 → 2 (+2)",)),
    (side({"evidence": None}), ("label: internal → restricted", "scanned: yes → no")),
    (side(destination="s3://b/"), ("destination: s3://a/ → s3://b/",)),
    (side(connection="fp-2"), ("the settings of the destination's Connection",)),
    (side(code=("dag-1", "v2")), ("the code of the DAG",)),
    (side({"action": "publish"}), ("action: export → publish",)),
]


@pytest.mark.parametrize(("now", "said"), CASES, ids=[said[0] for _, said in CASES])
def test_each_difference_is_named(now: Compared, said: tuple[str, ...]) -> None:
    assert differences(side(), now) == said


def test_a_request_that_lists_too_little_is_said_not_to_be_compared() -> None:
    many = tuple(EntityCount(f"c{n:03}", "PERSON", 1) for n in range(MAX_LISTED_COUNTS))
    found = differences(side(), side({"data": data(counts=many, object_count=99)}))
    assert found[:2] == (
        "columns are not compared: there are more objects than a request lists",
        "what was masked is not compared: there is more than a request lists",
    )
    assert "objects: 1 → 99 (+98)" in found


@given(st.sets(st.sampled_from("abcdef")), st.sets(st.sampled_from("abcdef")))
def test_columns_are_new_or_gone_and_nothing_else(before: set[str], now: set[str]) -> None:
    found = differences(side({"data": data(tuple(sorted(before)))}), side({"data": data(tuple(sorted(now)))}))
    lines = {line for line in found if "column " in line}
    assert lines == {f"+ column {c}" for c in now - before} | {f"- column {c}" for c in before - now}
