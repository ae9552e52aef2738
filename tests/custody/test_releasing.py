"""A content-bound release: the approved bytes leave, once, and only while all is as approved."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from airflow_approvals import dispatcher
from airflow_approvals.control import judging, releases
from airflow_approvals.core.models import Refusal
from airflow_approvals.custody import releasing
from airflow_approvals.data.places import Place
from airflow_approvals.data.prepared_release import Attempt
from airflow_approvals.errors import DataError, IntegrityError
from airflow_approvals.operators.release import ReleaseDataOperator
from airflow_approvals.store.release_tables import CustodyRow
from airflow_approvals.store.tables import GrantRow, RequestRow
from tests.control.airflow_scene import BOB, Run, open_sink, outcome_of, start
from tests.custody.conftest import FILES, PASSWORD, Custody, write_connections


def gate_output(run: Run) -> dict[str, Any]:
    outcome = outcome_of(run)
    assert outcome["outcome"] == "approved", outcome
    return dict(outcome["grant"])


def check_in_the_dag(custody: Custody, gate: dict[str, Any]) -> Any:
    """What the DAG's release task does with the gate's output."""
    uri = (custody.staged / "_manifest.json").as_uri()
    reference = {"uri": uri, "digest": gate["manifest_digest"]}
    return ReleaseDataOperator(task_id="release", manifest=reference, sink="sink-c", gate=gate).execute({})


def failed_because(custody: Custody, run: Run, request: RequestRow) -> str:
    """Check that nothing left and the gate is shut for good; return why."""
    assert custody.visible() == []
    assert custody.job(request).state == "failed"
    assert custody.released(request) == []
    assert run.grant().state == "killed"
    assert custody.airflow.entries(run_id=run.run_id, kind="release_published") == []
    (entry,) = custody.airflow.entries(run_id=run.run_id, kind="release_failed")
    assert entry["details"]["because"]
    return str(entry["details"]["because"])


def test_the_gate_stays_parked_until_the_custodian_has_copied(custody: Custody) -> None:
    run, request = custody.approved()
    assert run.task().state == "awaiting_input"
    assert run.task().trigger_timeout is None, "Airflow's sweep must not end it"
    assert custody.visible() == []
    assert custody.work() == 1
    assert custody.objects() == FILES
    assert run.task().state == "scheduled"
    assert run.grant().state == "spent"
    assert custody.released(request) == sorted(FILES)
    assert custody.kinds(run) == [
        "grant_issued", "release_intended", "release_published", "grant_spent",
    ]  # fmt: skip
    assert custody.work() == 0, "it is done once"


def test_the_dags_release_checks_the_receipt_and_opens_nothing(custody: Custody) -> None:
    run, _ = custody.approved()
    custody.work()
    gate = gate_output(run)
    brief = check_in_the_dag(custody, gate)
    assert brief["objects"] == len(FILES)
    assert brief["grant"] == run.grant().id
    assert start(run) is None, "a spent grant lets what follows start"
    refusal = open_sink(run, conn_id="sink_c")
    assert isinstance(refusal, Refusal)
    assert refusal.status == 403
    assert PASSWORD not in json.dumps(gate)


@pytest.mark.parametrize("what", ["jws", "key", "grant", "manifest"])
def test_a_receipt_that_was_changed_on_its_way_is_refused(custody: Custody, what: str) -> None:
    run, _ = custody.approved()
    custody.work()
    gate = gate_output(run)
    if what == "manifest":
        gate["manifest_digest"] = custody.stage({"a.txt": b"other\n"}).digest
    elif what == "grant":
        gate["grant"] = "0" * 32
    elif what == "key":
        other = custody.airflow.folder / "signing.pem"
        from airflow_approvals.control.signing import SigningKey

        gate["receipt"]["key"] = SigningKey.load(other).jwks()["keys"][0]
    else:
        head, body, signature = gate["receipt"]["jws"].split(".")
        gate["receipt"]["jws"] = f"{head}.{body[:-2]}AA.{signature}"
    with pytest.raises(IntegrityError):
        check_in_the_dag(custody, gate)


def test_one_changed_byte_after_the_approval_releases_nothing(custody: Custody) -> None:
    run, request = custody.approved()
    (custody.staged / "deep/b.txt").write_bytes(b"Masked line two\n")
    custody.work()
    assert failed_because(custody, run, request) == releasing.OTHER_DATA
    assert outcome_of(run)["outcome"] == "release_failed"
    assert run.task().state == "scheduled", "the gate goes on, shut"
    assert start(run) is not None, "and nothing behind it starts"


def _clear(custody: Custody, run: Run) -> None:
    run.clear("gate")


def _kill(custody: Custody, run: Run) -> None:
    from airflow_approvals.control import grants
    from airflow_approvals.core.models import GrantState
    from airflow_approvals.store.tables import GrantRow

    grant_id = run.grant().id
    custody.airflow.do(
        lambda s: grants.end(
            s, s.get_one(GrantRow, grant_id), GrantState.KILLED, "recalled", now=custody.airflow.now
        )
    )


def _change_policy(custody: Custody, run: Run) -> None:
    from tests.custody.conftest import POLICY

    text = POLICY.replace("@SINK@", custody.sink.as_uri()).replace("content-bound", "run-bound")
    custody.airflow.activate(text)


def _answer(custody: Custody, run: Run) -> None:
    run.change("gate", state="success")


def _delete(custody: Custody, run: Run) -> None:
    run.delete()


WHILE_COPYING = [_clear, _kill, _change_policy, _answer, _delete]


@pytest.mark.parametrize("event", WHILE_COPYING)
def test_what_happens_while_it_is_copied_keeps_it_unseen(
    custody: Custody, monkeypatch: pytest.MonkeyPatch, event: Any
) -> None:
    run, request = custody.approved()
    prepare = Attempt.prepare
    seen: list[str] = []

    def copied_then(self: Attempt, *args: Any, **kwargs: Any) -> Any:
        receipt = prepare(self, *args, **kwargs)
        seen.extend(custody.visible())
        event(custody, run)
        return receipt

    monkeypatch.setattr(Attempt, "prepare", copied_then)
    custody.work()
    assert any(".partial/a.txt" in name for name in seen), "it had been copied when it happened"
    failed_because(custody, run, request)


def test_a_voter_who_left_the_group_while_it_was_copied_counts_no_more(
    custody: Custody, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_approvals.control import judging
    from airflow_approvals.identity.directory import Membership

    run, request = custody.approved()
    now = judging.membership_now()
    without = Membership(now.policy, {"owners": frozenset({"carol"})})
    prepare = Attempt.prepare

    def copied_then(self: Attempt, *args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(judging, "membership_now", lambda: without)
        return prepare(self, *args, **kwargs)

    monkeypatch.setattr(Attempt, "prepare", copied_then)
    custody.work()
    assert "no longer enough" in failed_because(custody, run, request)


def test_a_sink_that_was_edited_after_the_approval_gets_nothing(custody: Custody) -> None:
    run, request = custody.approved()
    elsewhere = {"sink_c": {"conn_type": "generic", "host": "elsewhere.invalid", "password": PASSWORD}}
    write_connections(custody.folder, elsewhere)
    custody.work()
    assert "fingerprint" in failed_because(custody, run, request)


def test_without_a_custodian_nothing_is_asked(custody: Custody) -> None:
    from airflow_approvals.store.release_tables import CustodianRow

    custody.airflow.do(lambda s: s.query(CustodianRow).delete())
    run, request = custody.asked()
    assert run.request(request.id).state == "forbidden"
    assert "No custodian is running" in (run.request(request.id).decided_because or "")


def test_a_custodian_leaves_the_sinks_of_others_alone(custody: Custody) -> None:
    _, request = custody.approved()
    write_connections(custody.folder, {"another": "generic://host"})
    assert custody.work() == 0
    assert custody.job(request).state == "due"


def test_a_release_that_nobody_makes_ends_with_its_approval(custody: Custody) -> None:
    run, request = custody.approved()
    later = custody.airflow.now + timedelta(minutes=31)
    (job_id,) = [custody.job(request).id]
    assert job_id not in custody.airflow.look(
        lambda s: releases.overdue(s, now=custody.airflow.now, limit=100)
    )
    assert job_id in custody.airflow.look(lambda s: releases.overdue(s, now=later, limit=100))
    assert custody.airflow.do(partial(releases.give_up, job_id=job_id, now=later))
    assert failed_because(custody, run, request) == releases.NOBODY_RELEASED
    assert outcome_of(run)["outcome"] == "release_failed"


def _run_out(custody: Custody, run: Run) -> None:
    """Let the approval be good no longer."""
    grant_id, past = run.grant().id, custody.airflow.now - timedelta(seconds=1)
    custody.airflow.do(lambda s: setattr(s.get_one(GrantRow, grant_id), "not_after", past))


def test_a_copy_that_hangs_keeps_the_gate_no_longer_than_its_grant(
    custody: Custody, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, request = custody.approved()
    job_id, custodian, prepare = custody.job(request).id, custody.custodian(), Attempt.prepare

    def hangs(self: Attempt, *args: Any, **kwargs: Any) -> Any:
        custody.let_lease_run_out(request)
        custodian.announce()
        assert custody.job(request).due_at > datetime.now(UTC), "its grant is good, so it goes on"
        custody.let_lease_run_out(request)
        _run_out(custody, run)
        custodian.announce()
        assert custody.airflow.do(partial(releases.give_up, job_id=job_id, now=datetime.now(UTC)))
        assert run.task().state == "scheduled", "the gate goes on, shut, while the copy still hangs"
        return prepare(self, *args, **kwargs)

    monkeypatch.setattr(Attempt, "prepare", hangs)
    monkeypatch.setattr(custodian, "_beat", lambda: None)
    custodian.run_once()
    assert failed_because(custody, run, request) == releases.NOBODY_RELEASED
    assert outcome_of(run)["outcome"] == "release_failed"


def test_what_is_being_published_is_held_however_late(
    custody: Custody, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, request = custody.approved()
    custodian, publish = custody.custodian(), Attempt.publish

    def late(self: Attempt, *args: Any, **kwargs: Any) -> Any:
        custody.let_lease_run_out(request)
        _run_out(custody, run)
        custodian.announce()
        assert custody.job(request).due_at > datetime.now(UTC)
        return publish(self, *args, **kwargs)

    monkeypatch.setattr(Attempt, "publish", late)
    monkeypatch.setattr(custodian, "_beat", lambda: None)
    custodian.run_once()
    assert custody.job(request).state == "done"
    assert custody.objects() == FILES


def _fail_to_publish(
    custody: Custody, request: RequestRow, patch: pytest.MonkeyPatch, error: DataError
) -> None:
    """Let the last attempt get as far as the intent, and the sink fail then."""

    def fails(self: Attempt, digest: str) -> Any:
        raise error

    job_id = custody.job(request).id
    custody.airflow.do(lambda s: setattr(s.get_one(CustodyRow, job_id), "attempts", 20))
    patch.setattr(Attempt, "publish", fails)
    custody.work()
    custody.let_lease_run_out(request)
    custody.work()


def test_what_may_be_visible_is_never_said_to_have_failed(
    custody: Custody, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, request = custody.approved()
    with monkeypatch.context() as patch:
        _fail_to_publish(custody, request, patch, DataError("The sink cannot be reached."))
    assert custody.job(request).state == "publishing"
    assert custody.airflow.entries(run_id=run.run_id, kind="release_failed") == []
    # Nobody can say what is there, and the run waits for it no longer.
    assert outcome_of(run) == {"outcome": "release_failed", "because": releases.UNCERTAIN}
    assert run.grant().state == "killed"
    assert len(custody.airflow.entries(run_id=run.run_id, kind="release_uncertain")) == 1
    custody.let_lease_run_out(request)
    custody.work()
    assert custody.objects() == FILES
    assert custody.released(request) == sorted(FILES)
    assert custody.job(request).state == "done"


def test_a_receipt_that_cannot_be_read_now_is_not_gone(
    custody: Custody, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, request = custody.approved()

    def unreadable(self: Place, limit: int | None = None) -> bytes:
        raise DataError("The sink cannot be read now.")

    with monkeypatch.context() as patch:
        patch.setattr(releases, "finish", lambda *_, **__: 1 / 0)
        custody.work()
    assert custody.objects() == FILES, "it died between showing and writing down"
    custody.let_lease_run_out(request)
    with monkeypatch.context() as patch:
        patch.setattr(Place, "read_bytes", unreadable)
        custody.work()
    assert custody.job(request).state == "publishing"
    custody.let_lease_run_out(request)
    custody.work()
    assert custody.job(request).state == "done"
    assert run.grant().state == "spent"


def test_what_was_prepared_and_is_gone_has_failed(custody: Custody, monkeypatch: pytest.MonkeyPatch) -> None:
    run, request = custody.approved()
    with monkeypatch.context() as patch:
        _fail_to_publish(custody, request, patch, IntegrityError("It is no longer there."))
    assert custody.job(request).error == releasing.NOT_SHOWN
    assert outcome_of(run)["outcome"] == "release_failed"


def test_an_approval_that_ends_while_it_is_published_leaves_no_gate_parked(
    custody: Custody, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, request = custody.approved()
    publish = Attempt.publish

    def ends(self: Attempt, digest: str) -> Any:
        grant_id = run.grant().id
        changes = {"state": "killed", "ended_because": "a test says so"}
        custody.airflow.do(
            lambda s: [setattr(s.get_one(GrantRow, grant_id), *one) for one in changes.items()]
        )
        return publish(self, digest)

    monkeypatch.setattr(Attempt, "publish", ends)
    custody.work()
    assert custody.objects() == FILES
    assert custody.job(request).state == "done"
    assert run.task().state == "scheduled"
    assert "(a test says so), and it is released" in outcome_of(run)["because"]


def test_an_approval_that_ran_out_unreleased_opens_nothing_behind_the_gate(custody: Custody) -> None:
    run, request = custody.approved()
    _run_out(custody, run)
    assert dispatcher.run_round() > 0
    assert failed_because(custody, run, request) == releases.NOBODY_RELEASED


def test_groups_that_cannot_be_asked_end_no_approval(
    custody: Custody, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, request = custody.approved()
    known = judging.membership_now()
    with monkeypatch.context() as patch:
        silent = replace(known, groups={"owners": frozenset()}, unresolved={"owners": "Slack is silent."})
        patch.setattr(judging, "membership_now", lambda: silent)
        custody.work()
    assert run.grant().state == "live"
    assert run.task().state == "awaiting_input"
    custody.let_lease_run_out(request)
    custody.work()
    assert custody.objects() == FILES


def test_two_custodians_at_once_release_once(custody: Custody) -> None:
    run, request = custody.approved()
    both = [custody.custodian(), custody.custodian()]
    done: list[int] = []
    threads = [threading.Thread(target=lambda c=c: done.append(c.run_once())) for c in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [0, 1]
    assert custody.objects() == FILES
    assert len(custody.airflow.entries(run_id=run.run_id, kind="release_published")) == 1
    assert custody.released(request) == sorted(FILES)


def test_a_custodian_that_seemed_dead_publishes_nothing_more(
    custody: Custody, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, request = custody.approved()
    prepare = Attempt.prepare
    others: list[int] = []

    def slow(self: Attempt, *args: Any, **kwargs: Any) -> Any:
        receipt = prepare(self, *args, **kwargs)
        if not others:
            others.append(0)
            custody.let_lease_run_out(request)
            others.append(custody.work())
        return receipt

    monkeypatch.setattr(Attempt, "prepare", slow)
    custody.work()
    assert others == [0, 1]
    assert custody.objects() == FILES
    assert len(custody.airflow.entries(run_id=run.run_id, kind="release_intended")) == 1
    assert len(custody.airflow.entries(run_id=run.run_id, kind="release_published")) == 1
    assert custody.job(request).state == "done"


def test_a_sink_that_fails_for_a_while_is_tried_again(
    custody: Custody, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, request = custody.approved()
    custody.sink.rmdir()
    custody.sink.write_text("not a folder")
    custody.work()
    assert custody.job(request).state == "working"
    assert custody.job(request).holder is None
    assert run.task().state == "awaiting_input"
    custody.sink.unlink()
    custody.sink.mkdir()
    custody.let_lease_run_out(request)
    custody.work()
    assert custody.objects() == FILES


def test_a_gate_that_airflow_retried_after_the_release_gets_its_receipt_again(custody: Custody) -> None:
    run, request = custody.approved()
    custody.work()
    before = gate_output(run)
    run.start()
    run.retry()
    run.register(run.park(custody.ask(custody.stage())))
    assert gate_output(run)["receipt"] == before["receipt"]
    assert custody.work() == 0
    assert len(custody.airflow.entries(run_id=run.run_id, kind="release_published")) == 1
    assert run.votes(request) == [(BOB.id, "approve", "api")]
