"""How requests close, and what a retry or a clear of the gate brings back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_approvals.control import decisions, registration
from airflow_approvals.core.models import Channel, Refusal, Verdict
from tests.control.airflow_scene import (
    BOB,
    HOUR,
    Airflow,
    Run,
    an_ask,
    close,
    outcome_of,
    state_of,
)


@pytest.fixture
def run(airflow: Airflow) -> Run:
    return airflow.a_run()


def test_a_request_expires_at_its_moment_and_not_before(run: Run) -> None:
    request = run.ask()
    assert not close(run, request, after=HOUR - timedelta(seconds=1))
    assert close(run, request, after=HOUR)
    assert state_of(run, request) == ("expired", "Nobody decided in time; silence never approves.")
    assert run.grant() is None
    assert run.task().state == "scheduled"
    assert outcome_of(run)["outcome"] == "expired"
    assert not close(run, request, after=2 * HOUR), "it is closed only once"


def test_a_vote_that_comes_too_late_finds_it_expired(airflow: Airflow) -> None:
    airflow.now -= 2 * HOUR
    run = airflow.a_run()
    request = run.ask()
    answer = run.vote(request)
    assert isinstance(answer, Refusal)
    assert answer.code == "already_closed"
    assert state_of(run, request)[0] == "expired"
    assert run.grant() is None


@pytest.mark.parametrize("how", ["cleared", "retried", "deleted"])
def test_a_request_whose_gate_has_gone_is_withdrawn(run: Run, how: str) -> None:
    request = run.ask()
    {"cleared": lambda: run.clear("gate"), "retried": run.retry, "deleted": run.delete}[how]()
    assert close(run, request)
    assert state_of(run, request) == ("withdrawn", "The gate was cleared, retried or deleted.")
    answer = run.vote(request)
    assert isinstance(answer, Refusal)
    assert answer.code == "already_closed"
    assert run.grant() is None


@pytest.mark.parametrize("state", ["success", "failed", "skipped"])
def test_a_request_whose_gate_was_marked_is_withdrawn(run: Run, state: str) -> None:
    request = run.ask()
    run.change("gate", state=state)
    assert close(run, request)
    assert state_of(run, request)[0] == "withdrawn"
    assert run.task().state == state, "what a person has set is left alone"


def test_a_waiting_gate_is_left_in_peace(run: Run) -> None:
    request = run.ask()
    assert not close(run, request)
    assert state_of(run, request) == ("pending", None)


def test_a_withdrawal_resumes_the_gate_shut(run: Run) -> None:
    request = run.ask()
    answer = decisions.withdraw(request.id, person=BOB, channel=Channel.UI)
    assert isinstance(answer, decisions.Decided)
    assert state_of(run, request) == ("withdrawn", "Withdrawn by bob.")
    assert outcome_of(run)["outcome"] == "withdrawn"
    assert isinstance(decisions.withdraw(request.id, person=BOB, channel=Channel.UI), Refusal)


def test_an_automatic_retry_gets_the_decision_again_and_asks_nobody(run: Run) -> None:
    grant = run.approve()
    run.retry()
    again = run.register(run.park())
    assert again is not None
    assert again.id == grant.request_id
    kept = run.grant()
    assert kept is not None
    assert (kept.id, kept.state) == (grant.id, "live")
    kinds = run.airflow.kinds(run)
    assert kinds.count("request_registered") == kinds.count("grant_issued") == 1
    assert kinds[-1] == "decision_reapplied"
    assert run.task().state == "scheduled"
    assert outcome_of(run)["grant"]["grant"] == grant.id


@pytest.mark.parametrize("how", ["rejected", "withdrawn"])
def test_a_retry_of_a_gate_that_stayed_shut_stays_shut_without_asking(run: Run, how: str) -> None:
    request = run.ask()
    if how == "rejected":
        run.vote(request, BOB, Verdict.REJECT)
    else:
        decisions.withdraw(request.id, person=BOB, channel=Channel.UI)
    run.retry()
    again = run.register(run.park())
    assert again is not None
    assert again.id == request.id
    assert outcome_of(run)["outcome"] == how
    assert run.airflow.kinds(run)[-1] == "decision_reapplied"


def test_a_clear_after_a_rejection_asks_again(run: Run) -> None:
    request = run.ask()
    run.vote(request, BOB, Verdict.REJECT)
    run.finish("gate", "failed")
    run.clear("gate")
    again = run.register(run.park())
    assert again is not None
    assert run.request(again.id).state == "pending"


def test_a_retry_after_an_expiry_asks_again(run: Run) -> None:
    request = run.ask()
    assert close(run, request, after=HOUR)
    run.retry()
    again = run.register(run.park())
    assert again is not None
    assert run.request(again.id).state == "pending"


def test_what_can_never_be_registered_is_put_aside_and_recorded(run: Run) -> None:
    intake_id = run.park()
    run.airflow.do(lambda s: registration.give_up(s, intake_id, "ValueError"))
    assert run.intakes()[0].state == "failed"
    (entry,) = run.airflow.entries(kind="intake_invalid", run_id=run.run_id)
    assert entry["details"]["because"] == "ValueError"
    assert run.register(intake_id) is None


def test_a_retry_that_asks_for_something_else_is_asked_anew(run: Run) -> None:
    grant = run.approve()
    run.retry()
    again = run.register(run.park(an_ask(reason="another")))
    assert again is not None
    assert again.id != grant.request_id
    assert run.request(again.id).state == "pending"


def test_a_cleared_gate_is_asked_anew_and_its_old_grant_is_dead(run: Run) -> None:
    grant = run.approve()
    run.finish("gate")
    run.clear("gate")
    again = run.register(run.park())
    assert again is not None
    assert again.id != grant.request_id
    assert run.request(again.id).state == "pending"
    assert run.grant().state == "killed"
    assert run.airflow.entries(kind="grant_killed", run_id=run.run_id)[0]["details"]["because"] == (
        "the gate was cleared"
    )
