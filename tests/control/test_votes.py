"""Votes that are cast, changed and taken back, and what a rule may ask of them."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from airflow_approvals.control import decisions, judging, votes
from airflow_approvals.control.requesters import Requesters
from airflow_approvals.core.bar import EvidenceDemand, Unattributed
from airflow_approvals.core.models import Channel, Person, Refusal, RequestState, Verdict
from airflow_approvals.core.seats import Seat
from airflow_approvals.store import custody, ledger
from airflow_approvals.store.tables import RequestRow
from tests.control.airflow_scene import ALICE, BOB, CAROL, DAVE, Airflow, Run, state_of

APPROVE, REJECT = Verdict.APPROVE, Verdict.REJECT
TWO = (Seat("owners", 2),)


@pytest.fixture
def run(airflow: Airflow) -> Run:
    """A run under a rule that asks for two owners and lets nobody veto."""
    airflow.activate_bar(seats=TWO, veto=False)
    return airflow.a_run(user="dave")


def test_a_voter_may_change_their_mind_until_it_is_final(run: Run) -> None:
    request = run.ask()
    run.vote(request, BOB)
    run.vote(request, BOB, REJECT)
    assert run.votes(request) == [("bob", "reject", "api")]
    (entry,) = run.airflow.entries(kind="vote_changed", run_id=run.run_id)
    assert {key: entry["details"][key] for key in ("from", "to")} == {"from": "approve", "to": "reject"}
    run.vote(request, BOB)
    answer = run.vote(request, CAROL)
    assert isinstance(answer, decisions.Decided)
    assert answer.state is RequestState.APPROVED
    late = run.vote(request, BOB, REJECT)
    assert isinstance(late, Refusal)
    assert late.code == "already_closed"
    assert ("bob", "approve", "api") in run.votes(request)


def test_the_same_vote_again_writes_nothing(run: Run) -> None:
    request = run.ask()
    run.vote(request)
    before = len(run.airflow.entries())
    again = run.vote(request)
    assert isinstance(again, decisions.Decided)
    assert again.state is RequestState.PENDING
    assert len(run.airflow.entries()) == before


def an_old_approval(request: RequestRow, said_at: datetime) -> decisions.Decided | Refusal:
    """What a server works on that was written down when another one died."""
    return decisions.decide(
        request.id, person=BOB, verdict=APPROVE, reason="", channel=Channel.API, said_at=said_at
    )


def test_what_was_left_over_overrides_nothing_that_was_said_since(run: Run) -> None:
    request = run.ask()
    said_at = datetime.now(UTC)
    run.vote(request, CAROL)
    run.vote(request, BOB, REJECT)
    assert an_old_approval(request, said_at) == votes.OVERTAKEN
    assert run.votes(request) == [("carol", "approve", "api"), ("bob", "reject", "api")]
    assert state_of(run, request)[0] == "pending"


def test_what_was_left_over_does_not_bring_back_a_vote_that_was_taken_back(run: Run) -> None:
    request = run.ask()
    said_at = datetime.now(UTC)
    run.vote(request, BOB)
    decisions.take_back(request.id, person=BOB, channel=Channel.API)
    assert an_old_approval(request, said_at) == votes.OVERTAKEN
    assert run.votes(request) == []


def test_what_was_left_over_counts_over_older_words_and_those_of_others(run: Run) -> None:
    request = run.ask()
    run.vote(request, BOB, REJECT)
    said_at = datetime.now(UTC)
    run.vote(request, CAROL)
    answer = an_old_approval(request, said_at)
    assert isinstance(answer, decisions.Decided)
    assert answer.state is RequestState.APPROVED


def test_another_ticket_is_entered_and_the_same_one_is_not(run: Run) -> None:
    request = run.ask()
    for ticket in ("OPS-1", "OPS-1", "OPS-2", ""):
        decisions.decide(
            request.id, person=BOB, verdict=APPROVE, reason="", channel=Channel.API, ticket=ticket
        )
    entries = [*run.airflow.entries(kind="vote_cast"), *run.airflow.entries(kind="vote_changed")]
    assert [entry["details"]["ticket"] for entry in entries] == ["OPS-1", "OPS-2"]


def test_a_vote_that_comes_by_another_channel_is_a_change(run: Run) -> None:
    """The channel of the first may be one that only views by now."""
    request = run.ask()
    run.vote(request, channel=Channel.API)
    run.vote(request, channel=Channel.UI)
    assert run.votes(request) == [("bob", "approve", "ui")]
    (entry,) = run.airflow.entries(kind="vote_changed", run_id=run.run_id)
    assert (entry["details"]["from_channel"], entry["channel"]) == ("api", "ui")


def test_a_vote_can_be_taken_back(run: Run) -> None:
    request = run.ask()
    run.vote(request, BOB)
    answer = decisions.take_back(request.id, person=BOB, channel=Channel.API)
    assert isinstance(answer, decisions.Decided)
    assert answer.sentence == "Your vote is taken back; it still needs 2 of owners."
    assert run.votes(request) == []
    (entry,) = run.airflow.entries(kind="vote_changed", run_id=run.run_id)
    assert (entry["details"]["from"], entry["details"]["to"]) == ("approve", "none")
    run.vote(request, CAROL)
    assert state_of(run, request)[0] == "pending"


def test_a_vote_is_not_taken_back_by_a_channel_that_only_views(run: Run) -> None:
    request = run.ask()
    run.vote(request, BOB)
    before = len(run.airflow.entries())
    refusal = decisions.take_back(request.id, person=BOB, channel=Channel.SLACK)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "channel_views_only"
    assert run.votes(request) == [("bob", "approve", "api")]
    assert len(run.airflow.entries()) == before


def test_to_have_no_vote_is_a_word_too_and_entered_once(run: Run) -> None:
    """A vote that was sent before it may still lie in the inbox of a server that died."""
    request = run.ask()
    said_at = datetime.now(UTC)
    for _ in range(2):
        refusal = decisions.take_back(request.id, person=BOB, channel=Channel.API)
        assert isinstance(refusal, Refusal)
        assert refusal.code == "not_voted"
    (entry,) = run.airflow.entries(kind="vote_changed", run_id=run.run_id)
    assert (entry["actor"], entry["details"]["from"], entry["details"]["to"]) == ("bob", "none", "none")
    assert an_old_approval(request, said_at) == votes.OVERTAKEN
    assert isinstance(run.vote(request, BOB), decisions.Decided)


def test_a_vote_follows_its_person_to_another_name(run: Run) -> None:
    request = run.ask()
    run.vote(request, Person("bob", "robert"))
    run.vote(request, BOB)
    (vote,) = run.airflow.look(lambda s: votes.of_request(s, request.id))
    assert vote.person == BOB
    run.vote(request, BOB)
    assert len(run.airflow.entries(kind="vote_changed", run_id=run.run_id)) == 1


def test_a_vote_counts_whatever_the_look_at_it_afterwards_comes_to(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(session: object, request_id: str) -> None:
        raise ConnectionError

    monkeypatch.setattr(decisions, "confirm", broken)
    run = airflow.a_run()
    request = run.ask()
    answer = run.vote(request)
    assert isinstance(answer, decisions.Decided)
    assert answer.state is RequestState.APPROVED


def test_nothing_is_taken_back_from_what_is_final(airflow: Airflow) -> None:
    run = airflow.a_run()
    request = run.ask()
    run.vote(request, BOB)
    refusal = decisions.take_back(request.id, person=BOB, channel=Channel.API)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "already_closed"
    assert run.votes(request) == [("bob", "approve", "api")]


def test_without_a_veto_a_rejection_is_final_once_the_seats_cannot_be_filled(run: Run) -> None:
    request = run.ask()
    first = run.vote(request, BOB, REJECT)
    assert isinstance(first, decisions.Decided)
    assert first.state is RequestState.PENDING
    second = run.vote(request, CAROL, REJECT)
    assert isinstance(second, decisions.Decided)
    assert second.state is RequestState.REJECTED
    assert state_of(run, request) == ("rejected", "Rejected by bob, carol.")


def test_a_rejection_by_who_fills_no_seat_stops_nothing(run: Run) -> None:
    request = run.ask()
    run.airflow.activate_bar(seats=TWO)
    refusal = run.vote(request, DAVE, REJECT)
    assert isinstance(refusal, Refusal)
    assert state_of(run, request)[0] == "pending"


@pytest.mark.parametrize("reason", ["", "ok", "I looked at the columns"])
def test_an_approval_without_the_reason_that_is_asked_for_leaves_nothing(
    airflow: Airflow, reason: str
) -> None:
    airflow.activate_bar(approver_reason=("looked at .+",))
    run = airflow.a_run()
    request = run.ask()
    before = len(airflow.entries())
    refusal = run.vote(request, reason=reason)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.status) == ("reason_required", 422)
    assert "looked at .+" in refusal.sentence
    assert run.votes(request) == []
    assert len(airflow.entries()) == before


def test_a_reason_is_asked_of_approvals_only(airflow: Airflow) -> None:
    airflow.activate_bar(approver_reason=("looked at .+",), veto=False)
    run = airflow.a_run()
    request = run.ask()
    assert isinstance(run.vote(request, BOB, REJECT, reason=""), decisions.Decided)
    answer = run.vote(request, CAROL, reason=" looked at the columns\nand at the rows ")
    assert isinstance(answer, decisions.Decided)
    assert answer.state is RequestState.APPROVED


def test_an_approval_from_before_a_reason_was_asked_for_does_not_count(run: Run) -> None:
    request = run.ask()
    run.vote(request, BOB, reason="")
    run.airflow.activate_bar(seats=TWO, veto=False, approver_reason=("looked at .+",))
    second = run.vote(request, CAROL, reason="looked at the columns")
    assert isinstance(second, decisions.Decided)
    assert second.state is RequestState.PENDING


def verified(run: Run, request: RequestRow) -> None:
    """What the custodian leaves behind when it found what was reported."""
    document = '{"digest": "sha256:%s", "subject": null, "label": "public", "scanned": 1, "total": 1,' % (
        "0" * 64
    )
    document += ' "findings": [], "not_scanned": 0, "engine": "0.1.0", "model": "model 1"}'

    def work(session) -> None:
        session.get_one(RequestRow, request.id).verified = document

    run.airflow.do(work)


def test_nobody_votes_before_the_custodian_has_looked(airflow: Airflow) -> None:
    run = airflow.a_run()
    request = run.ask()
    airflow.activate_bar(evidence=EvidenceDemand.VERIFIED)
    for verdict in Verdict:
        refusal = run.vote(request, BOB, verdict)
        assert isinstance(refusal, Refusal)
        assert (refusal.code, refusal.status) == ("evidence_pending", 409)
    assert run.votes(request) == []
    job = airflow.look(lambda s: custody.job_of(s, request.id, custody.JobKind.VERIFY))
    assert job is not None
    verified(run, request)
    assert isinstance(run.vote(request), decisions.Decided)


def test_what_the_custodian_refuted_cannot_be_approved(airflow: Airflow) -> None:
    run = airflow.a_run()
    request = run.ask()
    verified(run, request)
    airflow.do(
        lambda s: ledger.append(
            s, "evidence_refuted", at=airflow.now, request_id=request.id, place=request.place
        )
    )
    refusal = run.vote(request)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "evidence_refuted"
    assert state_of(run, request)[0] == "pending"


def test_a_policy_that_forbids_unattributed_runs_meanwhile_is_final(airflow: Airflow) -> None:
    run = airflow.a_run(user=None)
    request = run.ask()
    airflow.activate_bar(unattributed=Unattributed.FORBID)
    refusal = run.vote(request)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "forbidden"
    assert state_of(run, request)[0] == "forbidden"
    assert run.votes(request) == []


def test_changes_of_mind_at_once_leave_one_vote_and_entries_that_join_up(
    postgres_airflow: Airflow,
) -> None:
    postgres_airflow.activate_bar(seats=TWO, veto=False)
    run = postgres_airflow.a_run(user="dave")
    request = run.ask()
    barrier = threading.Barrier(2)

    def change(verdict: Verdict) -> None:
        barrier.wait()
        for _ in range(3):
            run.vote(request, BOB, verdict)
            decisions.take_back(request.id, person=BOB, channel=Channel.API)

    threads = [threading.Thread(target=change, args=(verdict,)) for verdict in Verdict]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    said = "none"
    for entry in run.airflow.entries(run_id=run.run_id, actor="bob"):
        if entry["kind"] == "vote_cast":
            assert said == "none"
            said = entry["details"]["verdict"]
        elif entry["kind"] == "vote_changed":
            assert entry["details"]["from"] == said
            said = entry["details"]["to"]
    assert run.votes(request) == ([] if said == "none" else [("bob", said, "api")])
    postgres_airflow.activate()


def test_taking_back_settles_when_what_is_left_is_enough_by_now(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, groups = run.ask(), judging.membership_now()
    run.vote(request, BOB)
    run.vote(request, ALICE, REJECT)
    with monkeypatch.context() as patched:
        gone = replace(groups, groups={"owners": frozenset({"alice", "carol", "erin"})})
        patched.setattr(judging, "membership_now", lambda: gone)
        assert run.vote(request, CAROL).state is RequestState.PENDING
    answer = decisions.take_back(request.id, person=ALICE, channel=Channel.API)
    assert isinstance(answer, decisions.Decided)
    assert (answer.state, answer.sentence) == (RequestState.APPROVED, "Approved by bob, carol.")
    assert run.grant().state == "live"


def test_taking_back_approves_nothing_whose_evidence_is_asked_for_by_now(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, groups = run.ask(), judging.membership_now()
    run.vote(request, BOB)
    run.vote(request, ALICE, REJECT)
    with monkeypatch.context() as patched:
        gone = replace(groups, groups={"owners": frozenset({"alice", "carol", "erin"})})
        patched.setattr(judging, "membership_now", lambda: gone)
        run.vote(request, CAROL)
    run.airflow.activate_bar(seats=TWO, veto=False, evidence=EvidenceDemand.VERIFIED)
    answer = decisions.take_back(request.id, person=ALICE, channel=Channel.API)
    assert isinstance(answer, decisions.Decided)
    assert answer.state is RequestState.PENDING
    assert "still checking the data" in answer.sentence
    assert run.grant() is None


def test_the_chat_account_of_a_vote_is_on_record_and_barred_by_itself(run: Run) -> None:
    """Whoever can say whose account it is could otherwise lend it a vote."""
    request = run.ask()
    barred = Requesters((("U0MALLORY", "Slack account of alice"),)).union(
        Requesters.from_text(request.requesters)
    )
    run.airflow.do(lambda s: setattr(s.get_one(RequestRow, request.id), "requesters", barred.to_text()))

    def vote(account: str) -> decisions.Decided | Refusal:
        said = {"verdict": APPROVE, "reason": "looked", "channel": Channel.API}
        return decisions.decide(request.id, person=BOB, account=account, **said)

    refused = vote("U0MALLORY")
    assert isinstance(refused, Refusal)
    assert refused.code == "self_approval"
    assert isinstance(vote("U0BOB"), decisions.Decided)
    (entry,) = run.airflow.entries(kind="vote_cast", request=request.id)
    assert entry["details"]["account"] == "U0BOB"


def test_what_was_said_last_counts_however_late_each_was_worked_on(run: Run) -> None:
    """Both forms were left over; the older one is worked on first, after the newer one was sent."""
    request = run.ask()
    early, late = datetime.now(UTC) - timedelta(seconds=60), datetime.now(UTC) - timedelta(seconds=50)
    assert isinstance(an_old_approval(request, early), decisions.Decided)
    said = {"verdict": Verdict.REJECT, "reason": "", "channel": Channel.API, "said_at": late}
    assert isinstance(decisions.decide(request.id, person=BOB, **said), decisions.Decided)


def test_the_same_vote_again_is_newer_than_what_was_left_over(run: Run) -> None:
    request = run.ask()
    assert isinstance(run.vote(request), decisions.Decided)
    between = datetime.now(UTC)
    assert isinstance(run.vote(request), decisions.Decided)
    said = {"verdict": Verdict.REJECT, "reason": "", "channel": Channel.API, "said_at": between}
    assert decisions.decide(request.id, person=BOB, **said) == votes.OVERTAKEN
