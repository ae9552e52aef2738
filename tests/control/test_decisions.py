"""One vote after the other and two at once, on a real metadata database."""

from __future__ import annotations

import json

import pytest

from airflow_approvals.control import decisions
from airflow_approvals.core.models import Channel, Refusal, RequestState, Verdict
from airflow_approvals.seams import airflow_seams
from airflow_approvals.store.tables import ActorRow
from tests.control.airflow_scene import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    POLICY,
    Airflow,
    Run,
    outcome_of,
    state_of,
)


@pytest.fixture
def run(airflow: Airflow) -> Run:
    return airflow.a_run()


def test_an_approval_is_one_transaction_with_grant_answer_and_resume(run: Run) -> None:
    request = run.ask()
    answer = run.vote(request)
    assert isinstance(answer, decisions.Decided)
    assert answer.state is RequestState.APPROVED
    assert run.airflow.kinds(run) == [
        "request_registered", "vote_cast", "grant_issued", "request_approved"
    ]  # fmt: skip
    ti = run.task()
    assert (ti.state, ti.try_number, ti.max_tries) == ("scheduled", 2, 2)
    assert outcome_of(run)["grant"]["manifest_digest"] == request.manifest_digest
    assert run.inbox().chosen_options == ["Approve"]


def test_a_rejection_leaves_no_grant(run: Run) -> None:
    request = run.ask()
    assert isinstance(run.vote(request, CAROL, Verdict.REJECT), decisions.Decided)
    assert state_of(run, request) == ("rejected", "Rejected by carol.")
    assert run.grant() is None
    assert outcome_of(run)["outcome"] == "rejected"


@pytest.mark.parametrize(("person", "code"), [(ALICE, "self_approval"), (DAVE, "not_eligible")])
def test_who_may_not_vote_is_refused_and_recorded(run: Run, person, code: str) -> None:
    request = run.ask()
    answer = run.vote(request, person)
    assert isinstance(answer, Refusal)
    assert answer.code == code
    (entry,) = run.airflow.entries(kind="vote_refused", run_id=run.run_id)
    assert (entry["actor"], entry["details"]["code"]) == (person.id, code)
    assert state_of(run, request)[0] == "pending"
    assert run.task().state == "awaiting_input"


def test_who_shapes_the_run_while_it_waits_can_no_longer_vote(run: Run) -> None:
    request = run.ask()
    actor = ActorRow(
        dag_id=run.dag_id, run_id=run.run_id, task_id="aside", map_index=-1,
        person_id="bob", person_name="bob", act="clear", at=run.airflow.now,
    )  # fmt: skip
    run.airflow.do(lambda s: s.add(actor))
    answer = run.vote(request, BOB)
    assert isinstance(answer, Refusal)
    assert answer.code == "self_approval"


def test_a_run_that_nobody_can_be_named_for_needs_two_people(airflow: Airflow) -> None:
    run = airflow.a_run(user=None)
    request = run.ask()
    assert request.unattributed
    first = run.vote(request, BOB)
    assert isinstance(first, decisions.Decided)
    assert first.state is RequestState.PENDING
    assert "one more person" in first.sentence
    assert run.task().state == "awaiting_input"
    second = run.vote(request, CAROL)
    assert isinstance(second, decisions.Decided)
    assert second.state is RequestState.APPROVED
    assert run.grant() is not None


def test_a_second_vote_of_the_same_person_does_not_count(airflow: Airflow) -> None:
    run = airflow.a_run(user=None)
    request = run.ask()
    run.vote(request, BOB)
    again = run.vote(request, BOB)
    assert isinstance(again, decisions.Decided)
    assert again.state is RequestState.PENDING
    assert airflow.kinds(run).count("vote_cast") == 1
    assert run.grant() is None


TWO_OWNERS = POLICY.replace("count: 1", "count: 2")


@pytest.mark.parametrize(("at_first", "later"), [(POLICY, TWO_OWNERS), (TWO_OWNERS, POLICY)])
def test_the_stricter_of_the_pinned_and_the_present_policy_counts(
    run: Run, at_first: str, later: str
) -> None:
    run.airflow.activate(at_first)
    request = run.ask()
    run.airflow.activate(later)
    first = run.vote(request, BOB)
    assert isinstance(first, decisions.Decided)
    assert first.state is RequestState.PENDING


def test_a_policy_that_forbids_meanwhile_is_final_with_the_next_vote(run: Run) -> None:
    request = run.ask()
    run.airflow.activate(POLICY.replace("action: leak", "action: export"))
    answer = run.vote(request, BOB)
    assert isinstance(answer, Refusal)
    assert answer.code == "forbidden"
    assert state_of(run, request) == ("forbidden", "The policy in force now forbids it.")
    assert run.grant() is None
    assert outcome_of(run)["outcome"] == "forbidden"


def test_dev_mode_lets_the_requester_vote_and_stamps_every_record(airflow: Airflow) -> None:
    airflow.activate(POLICY.replace("dev_mode: false", "dev_mode: true"))
    run = airflow.a_run()
    request = run.ask()
    assert isinstance(run.vote(request, ALICE), decisions.Decided)
    grant = run.grant()
    assert grant is not None
    claims = json.loads(grant.claims)
    assert (claims["dev_mode"], claims["evidence"]) == (True, "NOT EVIDENCE")
    for kind in ("request_registered", "vote_cast"):
        (entry,) = airflow.entries(kind=kind, run_id=run.run_id)
        assert entry["details"]["not_evidence"] is True


def test_dev_mode_switched_on_while_a_gate_waits_lifts_nothing_for_it(run: Run) -> None:
    request = run.ask()
    run.airflow.activate(POLICY.replace("dev_mode: false", "dev_mode: true"))
    answer = run.vote(request, ALICE)
    assert isinstance(answer, Refusal)
    assert answer.code == "self_approval"


def test_without_dev_mode_nothing_is_stamped(run: Run) -> None:
    grant = run.approve()
    assert "evidence" not in json.loads(grant.claims)
    (entry,) = run.airflow.entries(kind="vote_cast", run_id=run.run_id)
    assert entry["details"]["not_evidence"] is False


def test_an_unknown_request_and_an_endless_reason_are_refused(run: Run) -> None:
    def cast(request_id: str, reason: str) -> str:
        answer = decisions.decide(
            request_id, person=BOB, verdict=Verdict.APPROVE, reason=reason, channel=Channel.API
        )
        assert isinstance(answer, Refusal)
        return answer.code

    assert cast("nope", "") == "unknown_request"
    assert cast(run.ask().id, "x" * 2001) == "reason_too_long"


def test_an_answer_put_in_place_of_ours_kills_the_grant(run: Run) -> None:
    """A server without this plugin may still write the inbox through Airflow's own route."""
    grant = run.approve()

    def overwrite(session) -> None:
        inbox = airflow_seams.lock_gate(session, run.place()).inbox
        inbox.chosen_options = ["Reject"]

    run.airflow.do(overwrite)
    run.airflow.do(lambda s: decisions.confirm(s, grant.request_id))
    assert run.request(grant.request_id).state == "conflict"
    assert run.grant().state == "killed"
    assert run.airflow.entries(kind="request_conflict", run_id=run.run_id)


def test_two_votes_at_once_on_postgresql_make_one_decision(postgres_airflow: Airflow) -> None:
    import threading

    run = postgres_airflow.a_run()
    request = run.ask()
    barrier, answers = threading.Barrier(2), []

    def cast(person, verdict: Verdict) -> None:
        barrier.wait()
        answers.append(run.vote(request, person, verdict))

    threads = [
        threading.Thread(target=cast, args=(BOB, Verdict.APPROVE)),
        threading.Thread(target=cast, args=(CAROL, Verdict.REJECT)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(type(answer).__name__ for answer in answers) == ["Decided", "Refusal"]
    (decided,) = [answer for answer in answers if isinstance(answer, decisions.Decided)]
    assert run.request(request.id).state == decided.state
    assert run.airflow.kinds(run).count("vote_cast") == 1
    assert (run.grant() is not None) == (decided.state is RequestState.APPROVED)
    assert run.task().try_number == 2
