"""Verified evidence: what a task says of its data counts for nothing until the custodian has looked."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import OKPKey
from sqlalchemy import delete

from airflow_approvals.control.signing import EVIDENCE_TYPE
from airflow_approvals.core.classification import Label
from airflow_approvals.core.models import Refusal
from airflow_approvals.custody import verifying
from airflow_approvals.errors import DetectionError
from airflow_approvals.seams import airflow_seams
from airflow_approvals.store import custody as store
from airflow_approvals.store.release_tables import CustodyRow
from airflow_approvals.store.tables import RequestRow
from tests.control.airflow_scene import Run
from tests.custody.conftest import FILES, Custody, custodian_key

CANARY = "carol.canary@example.com"
LEAKY = {"a.txt": f"please write to {CANARY}\n".encode()}
SECRET = {"a.txt": b"card 4111 1111 1111 1111\n"}


def refuted(custody: Custody, run: Run, request_id: str) -> str:
    """Check that the request is closed for good, without a value; return why."""
    row = run.request(request_id)
    assert row.state == "forbidden"
    assert row.verified is None
    (entry,) = custody.airflow.entries(run_id=run.run_id, kind="evidence_refuted")
    assert entry["details"]["because"] == row.decided_because
    assert CANARY not in json.dumps(custody.airflow.entries(run_id=run.run_id))
    assert CANARY not in (run.inbox().body or "")
    assert run.grant() is None
    return str(row.decided_because)


def test_nobody_can_approve_before_the_custodian_has_looked(custody: Custody) -> None:
    run, request = custody.asked("checked", Label.CONFIDENTIAL)
    answer = run.vote(request)
    assert isinstance(answer, Refusal)
    assert answer.code == "evidence_pending"
    assert custody.work() == 1
    assert not isinstance(run.vote(request), Refusal)
    assert custody.work() == 1
    assert custody.objects() == FILES


def test_what_was_found_is_signed_and_shown(custody: Custody) -> None:
    run, request = custody.asked("checked")
    custody.work()
    row = run.request(request.id)
    key = OKPKey.import_key(custodian_key(custody).jwks()["keys"][0])
    token = jws.deserialize_compact(row.verified_jws or "", key, algorithms=["Ed25519"])
    claims = json.loads(token.payload)
    assert token.headers()["typ"] == EVIDENCE_TYPE
    assert claims["request"] == request.id
    assert claims["manifest"] == request.manifest_digest
    assert claims["evidence"] == json.loads(row.verified or "")
    (entry,) = custody.airflow.entries(run_id=run.run_id, kind="evidence_verified")
    assert entry["actor"] == "custodian"
    assert "verified by the custodian" in (run.inbox().body or "")


def test_a_label_that_the_task_lowered_is_found_out(custody: Custody) -> None:
    run = custody.airflow.a_run()
    request = run.ask(custody.ask(custody.stage(SECRET), "checked", Label.INTERNAL))
    custody.work()
    because = refuted(custody, run, request.id)
    assert because == "The task reported internal data, and the custodian found it restricted."
    assert isinstance(run.vote(request), Refusal)


def test_findings_that_the_task_left_out_are_found_out(custody: Custody) -> None:
    run = custody.airflow.a_run()
    request = run.ask(custody.ask(custody.stage(LEAKY), "checked", Label.CONFIDENTIAL))
    custody.work()
    assert "more sensitive data left" in refuted(custody, run, request.id)


@pytest.mark.parametrize("file", ["a.txt", "_manifest.json"])
def test_staged_data_that_was_changed_is_found_out(custody: Custody, file: str) -> None:
    run, request = custody.asked("checked", Label.RESTRICTED)
    path = custody.staged / file
    path.write_bytes(path.read_bytes().replace(b"a", b"b", 1))
    custody.work()
    assert refuted(custody, run, request.id) == verifying.OTHER_DATA


def test_a_summary_that_does_not_fit_the_manifest_is_found_out(custody: Custody) -> None:
    run = custody.airflow.a_run()
    ask = custody.ask(custody.stage(), "checked", Label.RESTRICTED)
    request = run.ask(replace(ask, data=replace(ask.data, rows=1)))
    custody.work()
    assert refuted(custody, run, request.id) == verifying.OTHER_SUMMARY


def test_data_that_cannot_be_read_now_is_tried_again(custody: Custody) -> None:
    run, request = custody.asked("checked", Label.RESTRICTED)
    hidden = custody.staged.with_name("hidden")
    custody.staged.rename(hidden)
    custody.work()
    assert run.request(request.id).state == "pending"
    assert custody.job(request, "verify").holder is None
    hidden.rename(custody.staged)
    _due_again(custody, request)
    custody.work()
    assert run.request(request.id).verified is not None


def test_a_scan_that_fails_refutes_nothing_and_verifies_nothing(
    custody: Custody, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, request = custody.asked("checked", Label.RESTRICTED)

    def broken(*_: Any, **__: Any) -> Any:
        raise DetectionError("A recognizer failed.")

    monkeypatch.setattr(verifying, "classify_masked_copy", broken)
    custody.work()
    row = run.request(request.id)
    assert (row.state, row.verified) == ("pending", None)


def test_a_request_that_closed_meanwhile_is_left_closed(custody: Custody) -> None:
    run, request = custody.asked("checked", Label.RESTRICTED)
    run.clear("gate")
    custody.work()
    row = run.request(request.id)
    assert (row.state, row.verified) == ("withdrawn", None)
    assert custody.job(request, "verify").state == "done"


def test_what_needs_no_vote_waits_for_the_custodian(custody: Custody) -> None:
    run, request = custody.asked("waved", Label.INTERNAL)
    assert run.request(request.id).state == "pending"
    assert custody.airflow.entries(run_id=run.run_id, kind="grant_issued") == []
    assert isinstance(run.vote(request), Refusal)
    custody.work()
    row = run.request(request.id)
    assert (row.state, row.decided_because) == (
        "approved",
        "Permitted without a vote by rule waved-through, by what the custodian found in the data.",
    )
    custody.work()
    assert custody.objects() == FILES


def test_a_permit_that_became_a_question_meanwhile_is_asked(custody: Custody) -> None:
    run, request = custody.asked("waved", Label.INTERNAL)
    asking = "effect: require\n    seats: [{group: owners, count: 1}]\n    channels: {api: decide}"
    stricter = custody.policy.replace("effect: permit", asking)
    custody.airflow.activate(stricter)
    custody.work()
    assert run.request(request.id).state == "pending"
    assert "1 of owners" in (run.inbox().body or "")
    assert not isinstance(run.vote(request), Refusal)


def test_a_permit_whose_sink_leads_elsewhere_by_now_is_none(custody: Custody) -> None:
    run, request = custody.asked("waved", Label.INTERNAL)
    custody.airflow.activate(custody.policy.replace(custody.sink.as_uri(), "file:///srv/elsewhere"))
    custody.work()
    assert run.request(request.id).state == "forbidden"
    assert run.grant() is None


def test_what_asks_nobody_crowds_nobody(custody: Custody) -> None:
    custody.airflow.conf("max_pending_per_dag", "1")
    custody.airflow.do(lambda s: s.execute(delete(RequestRow)))
    custody.asked("waved", Label.INTERNAL)
    second, request = custody.asked("waved", Label.INTERNAL)
    assert second.request(request.id).state == "pending"
    third, asked = custody.asked("export")
    assert third.request(asked.id).state == "pending"


def test_a_lie_gets_nothing_through_that_needs_no_vote(custody: Custody) -> None:
    run = custody.airflow.a_run()
    request = run.ask(custody.ask(custody.stage(SECRET), "waved", Label.INTERNAL))
    custody.work()
    refuted(custody, run, request.id)
    assert custody.work() == 0
    assert custody.visible() == []


def test_data_longer_than_its_manifest_says_is_not_read_to_its_end(custody: Custody) -> None:
    run, request = custody.asked("checked", Label.RESTRICTED)
    path = custody.staged / "a.txt"
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # a hole of 1 TiB takes hours to read and no place
    custody.work()
    assert refuted(custody, run, request.id) == verifying.OTHER_DATA


def test_a_verification_that_hangs_is_let_go_of_once_its_request_is_closed(custody: Custody) -> None:
    _run, request = custody.asked("checked", Label.RESTRICTED)
    job, now = custody.job(request, "verify"), custody.airflow.now
    soon, later = now + timedelta(minutes=1), now + timedelta(minutes=5)

    def due_at() -> datetime:
        custody.airflow.do(lambda s: store.hold_on(s, "one", now=now, until=later))
        return custody.job(request, "verify").due_at

    custody.airflow.do(lambda s: store.claim(s, job.id, "one", now=job.due_at, until=soon))
    assert due_at() == later
    custody.airflow.do(lambda s: setattr(s.get_one(CustodyRow, job.id), "due_at", soon))
    custody.airflow.do(lambda s: setattr(s.get_one(RequestRow, request.id), "state", "withdrawn"))
    assert due_at() == soon


def test_the_credential_is_never_a_connection_of_airflow(custody: Custody) -> None:
    """It is known to the custodian's process by its environment; the database has none."""
    from airflow.models.connection import Connection

    assert airflow_seams.connection_parts("sink_c") is not None
    rows = custody.airflow.look(lambda s: s.query(Connection).filter_by(conn_id="sink_c").count())
    assert rows == 0


def _due_again(custody: Custody, request: Any) -> None:
    from datetime import timedelta

    from airflow_approvals.store.release_tables import CustodyRow

    job_id, past = custody.job(request, "verify").id, custody.airflow.now - timedelta(seconds=1)
    custody.airflow.do(lambda s: setattr(s.get_one(CustodyRow, job_id), "due_at", past))
