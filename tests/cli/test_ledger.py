from __future__ import annotations

from argparse import Namespace
from datetime import UTC, datetime

import pytest

from airflow_approvals.cli.ledger import verify
from airflow_approvals.store import ledger
from airflow_approvals.store.session import run_transaction

pytestmark = pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def written(database):
    run_transaction(lambda s: [ledger.append(s, "vote_cast", at=AT, actor=name) for name in ("bob", "carol")])
    return database


def test_good_ledger_is_one_line(written, capsys):
    verify(Namespace())
    assert capsys.readouterr().out == "ledger verifies (2 entries)\n"


def test_bad_rows_are_named_and_the_exit_is_1(written, capsys):
    written.execute("DROP TRIGGER approvals_ledger_no_update")
    written.execute("UPDATE approvals_ledger SET leaf_hash = entry_hash WHERE seq = 2")
    with pytest.raises(SystemExit) as ended:
        verify(Namespace())
    assert ended.value.code == 1
    assert capsys.readouterr().out == (
        "edit: Entry 2 was edited: its body does not match its hash.\n"
        "ledger does NOT verify: 1 problems in 2 entries\n"
    )


def test_process_without_a_database_ends_with_the_error(empty_database, monkeypatch):
    from airflow import settings

    monkeypatch.setattr(settings, "engine", None)
    with pytest.raises(SystemExit, match="no connection to Airflow's metadata database"):
        verify(Namespace())
