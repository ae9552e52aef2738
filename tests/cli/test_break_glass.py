from __future__ import annotations

import json
from argparse import Namespace
from datetime import UTC, datetime, timedelta

import pytest

from airflow_approvals.cli.break_glass import list_uses
from airflow_approvals.store.release_tables import BreakGlassRow
from airflow_approvals.store.session import run_transaction

pytestmark = pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
AT = datetime.now(UTC)


def used(request_id: str, *, due_in: timedelta, reviewed_by: str | None = None) -> BreakGlassRow:
    return BreakGlassRow(
        request_id=request_id,
        person_id="erin",
        person_name="erin",
        reason="production is down",
        ticket="INC-1",
        skipped="[]",
        used_at=AT,
        review_due_at=AT + due_in,
        reviewed_at=AT if reviewed_by else None,
        reviewed_by=reviewed_by,
    )


def test_uses_are_listed_with_how_their_review_stands(database, capsys):
    day = timedelta(days=1)
    rows = [used("a", due_in=day, reviewed_by="grace"), used("b", due_in=-day), used("c", due_in=day)]
    run_transaction(lambda s: s.add_all(rows))
    list_uses(Namespace(output="json"))
    listed = {row["request"]: row["review"] for row in json.loads(capsys.readouterr().out)}
    assert list(listed)[-1] == "a"
    assert listed["a"].startswith("by grace at ")
    assert listed["b"].startswith("OVERDUE since ")
    assert listed["c"].startswith("due by ")


def test_without_a_use_there_is_nothing_to_list(database, capsys):
    list_uses(Namespace(output="json"))
    assert json.loads(capsys.readouterr().out or "[]") in ([], None)
