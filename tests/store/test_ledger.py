from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import text

from airflow_approvals.core.chain import GENESIS, entry_hash, leaf_hash
from airflow_approvals.core.models import Channel, Place
from airflow_approvals.errors import LedgerError
from airflow_approvals.store import ledger
from airflow_approvals.store.session import read_session, run_transaction

AT = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
PLACE = Place("export", "manual__1", "gate", 3)


def write(count, **changes):
    def work(session):
        for number in range(count):
            ledger.append(session, "vote_cast", at=AT, details={"number": number}, **changes)

    run_transaction(work)


def report():
    with read_session() as session:
        return ledger.verify_ledger(session)


def found():
    return [(problem.seq, problem.kind.value) for problem in report().problems]


def listed(**conditions):
    with read_session() as session:
        return ledger.entries(session, **conditions)


@pytest.fixture
def open_ledger(database):
    """A ledger of five entries whose owner has taken the append-only triggers off."""
    write(5, request_id="r1")
    if database.name == "postgresql":
        database.execute("DROP TRIGGER approvals_ledger_append_only ON approvals_ledger")
    else:
        for act in ("update", "delete", "replace"):
            database.execute(f"DROP TRIGGER approvals_ledger_no_{act}")
    return database


def test_new_ledger_verifies(database):
    assert (report().ok, report().size) == (True, 0)


def test_entry_is_stored_as_the_bytes_that_were_hashed(database):
    local = AT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    seq = run_transaction(
        lambda session: ledger.append(
            session,
            ledger.EntryKind.VOTE_CAST,
            at=local,
            actor="bob",
            channel=Channel.SLACK,
            request_id="r1",
            place=PLACE,
            details={"verdict": "approve", "reason": "geprüft", "nested": [1, None, {"b": True}]},
        )
    )
    with database.session() as session:
        row = session.execute(text("SELECT body, leaf_hash, entry_hash FROM approvals_ledger")).one()
    body = bytes(row.body)
    assert seq == 1
    assert body.decode() == (
        '{"actor":"bob","at":"2026-01-02T03:04:05.000006Z","channel":"slack","dag_id":"export",'
        '"details":{"nested":[1,null,{"b":true}],"reason":"geprüft","verdict":"approve"},'
        f'"kind":"vote_cast","map_index":3,"prev":"{GENESIS}","request":"r1","run_id":"manual__1",'
        '"seq":1,"task_id":"gate","v":1}'
    )
    assert row.leaf_hash == leaf_hash(body)
    assert row.entry_hash == entry_hash(GENESIS, leaf_hash(body))


def test_whole_second_keeps_its_microseconds(database):
    run_transaction(lambda s: ledger.append(s, "vote_cast", at=AT.replace(microsecond=0)))
    assert listed()[0]["at"] == "2026-01-02T03:04:05.000000Z"


def test_entries_are_read_in_sequence_by_page_and_by_request(database):
    write(3, request_id="r1", place=PLACE)
    write(2, request_id="r2")
    assert [entry["seq"] for entry in listed()] == [1, 2, 3, 4, 5]
    assert [entry["seq"] for entry in listed(after=2, limit=2)] == [3, 4]
    assert [entry["seq"] for entry in listed(request_id="r2")] == [4, 5]
    first, second = listed(limit=2)
    assert (first["kind"], first["request"], first["dag_id"], first["map_index"]) == (
        "vote_cast", "r1", "export", 3
    )  # fmt: skip
    assert second["prev"] == first["entry_hash"]


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("vote_forged", {}, "no ledger entry of kind vote_forged"),
        ("vote_cast", {"details": {"score": 0.5}}, "holds a float"),
        ("vote_cast", {"details": {"raw": b"secret-canary"}}, "no canonical JSON form"),
        ("vote_cast", {"details": {"big": 2**60}}, "no canonical JSON form"),
        ("vote_cast", {"details": {"text": "secret-canary\ud800"}}, "no canonical JSON form"),
        ("vote_cast", {"at": datetime(2026, 1, 1)}, "time zone"),
    ],
)
def test_what_cannot_be_an_entry_is_refused_without_its_value(database, kind, changes, expected):
    with pytest.raises(LedgerError, match=expected) as caught:
        run_transaction(lambda session: ledger.append(session, kind, **{"at": AT, **changes}))
    assert "secret-canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    write(1)
    assert (report().ok, report().size) == (True, 1)


def test_every_kind_can_be_written(database):
    run_transaction(lambda s: [ledger.append(s, kind, at=AT) for kind in ledger.EntryKind])
    assert [entry["kind"] for entry in listed()] == [kind.value for kind in ledger.EntryKind]


def test_what_is_rolled_back_leaves_no_gap(database):
    def fail(session):
        ledger.append(session, "vote_cast", at=AT)
        raise RuntimeError

    write(1)
    with pytest.raises(RuntimeError):
        run_transaction(fail)
    write(1)
    assert [entry["seq"] for entry in listed()] == [1, 2]
    assert report().ok


def test_appends_from_several_threads_are_gap_free(database):
    threads = 2 if database.name == "sqlite" else 4
    together = threading.Barrier(threads)
    failures = []

    def several():
        try:
            together.wait(60)
            for _ in range(20):
                write(1)
        except Exception as error:
            failures.append(error)

    workers = [threading.Thread(target=several) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(300)
    assert failures == []
    assert [entry["seq"] for entry in listed(limit=1000)] == list(range(1, threads * 20 + 1))
    assert report().ok


def test_verification_while_others_append_raises_no_false_alarm(database):
    done = threading.Event()

    def keep_writing():
        while not done.is_set():
            write(2)

    worker = threading.Thread(target=keep_writing)
    worker.start()
    try:
        reports = [report() for _ in range(30)]
        deadline = time.monotonic() + 120
        while reports[-1].size <= reports[0].size and time.monotonic() < deadline:
            reports.append(report())
    finally:
        done.set()
        worker.join(120)
    assert [r.problems for r in reports if not r.ok] == []
    assert reports[0].size < reports[-1].size


def test_more_entries_than_one_batch_verify(database):
    write(ledger._BATCH + 50)
    assert (report().ok, report().size) == (True, ledger._BATCH + 50)


def test_edited_row_is_named(open_ledger):
    body = open_ledger_body(open_ledger, 3).replace(b'"number":2', b'"number":9')
    change(open_ledger, "UPDATE approvals_ledger SET body = :body WHERE seq = 3", body=body)
    assert found() == [(3, "edit")]
    assert "Entry 3" in report().problems[0].sentence


def open_ledger_body(database, seq):
    with database.session() as session:
        return bytes(session.scalar(text("SELECT body FROM approvals_ledger WHERE seq = :s"), {"s": seq}))


def change(database, statement, **parameters):
    with database.engine.begin() as connection:
        connection.execute(text(statement), parameters)


def test_edit_with_all_its_hashes_recomputed_is_a_fork(open_ledger):
    body = open_ledger_body(open_ledger, 3).replace(b'"number":2', b'"number":9')
    leaf = leaf_hash(body)
    change(
        open_ledger,
        "UPDATE approvals_ledger SET body = :body, leaf_hash = :leaf, entry_hash = :entry WHERE seq = 3",
        body=body,
        leaf=leaf,
        entry=entry_hash(json.loads(body)["prev"], leaf),
    )
    assert found() == [(4, "fork")]


def test_missing_row_is_a_gap(open_ledger):
    open_ledger.execute("DELETE FROM approvals_ledger WHERE seq IN (2, 3)")
    assert found() == [(2, "gap")]
    assert "entries 2 to 3 are missing" in report().problems[0].sentence


def test_missing_end_is_a_cut_tail(open_ledger):
    open_ledger.execute("DELETE FROM approvals_ledger WHERE seq > 3")
    assert found() == [(4, "tail_cut")]


def test_missing_everything_is_told(open_ledger):
    open_ledger.execute("DELETE FROM approvals_ledger")
    assert found() == [(0, "empty")]


def test_missing_head_is_told_and_nothing_is_appended(open_ledger):
    open_ledger.execute("DELETE FROM approvals_ledger_head")
    assert found() == [(0, "empty")]
    with pytest.raises(LedgerError, match="lost its head"):
        write(1)


def test_head_set_back_is_told(open_ledger):
    open_ledger.execute("UPDATE approvals_ledger_head SET seq = 3")
    assert found() == [(4, "fork")]


def test_rewritten_end_is_a_fork(open_ledger):
    head_before = listed()[-1]["entry_hash"]
    open_ledger.execute("DELETE FROM approvals_ledger WHERE seq > 3")
    open_ledger.execute("UPDATE approvals_ledger_head SET seq = 3")
    change(open_ledger, "UPDATE approvals_ledger_head SET entry_hash = :h", h=listed()[-1]["entry_hash"])
    write(2, actor="somebody else")
    assert report().ok  # the database alone cannot show it; the old head, kept elsewhere, does
    change(open_ledger, "UPDATE approvals_ledger_head SET entry_hash = :h", h=head_before)
    assert found() == [(5, "fork")]


@pytest.mark.parametrize("assignment", ["kind = 'vote_refused'", "request_id = 'r2'", "request_id = NULL"])
def test_row_listed_under_something_else_is_told(open_ledger, assignment):
    open_ledger.execute(f"UPDATE approvals_ledger SET {assignment} WHERE seq = 2")
    assert found() == [(2, "projection")]


def test_several_faults_are_all_named_in_order(open_ledger):
    open_ledger.execute("UPDATE approvals_ledger SET kind = 'vote_refused' WHERE seq = 4")
    open_ledger.execute("UPDATE approvals_ledger SET leaf_hash = 'x' WHERE seq = 2")
    open_ledger.execute("DELETE FROM approvals_ledger WHERE seq = 5")
    assert found() == [(2, "edit"), (4, "projection"), (5, "tail_cut")]


def test_body_that_cannot_be_read_is_told_and_not_quoted(open_ledger):
    change(open_ledger, "UPDATE approvals_ledger SET body = :body WHERE seq = 2", body=b"secret-canary")
    assert found() == [(2, "edit")]
    with pytest.raises(LedgerError, match="entry 2 cannot be read") as caught:
        listed()
    assert "secret-canary" not in str(caught.value)


def test_the_ledgers_page_names_every_kind():
    page = (Path(__file__).parents[2] / "docs" / "ledger.md").read_text(encoding="utf-8")
    assert [kind.value for kind in ledger.EntryKind if f"`{kind.value}`" not in page] == []
