"""How requests close, and what a retry or a clear of the gate brings back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.models.taskinstance import clear_task_instances
from airflow.utils.state import DagRunState

from airflow_approvals.control import decisions, registration
from airflow_approvals.core.models import Channel, Refusal, Verdict
from airflow_approvals.enforcement import overrides
from airflow_approvals.enforcement.override_calls import Override
from tests.control.airflow_scene import (
    ALICE,
    BOB,
    HOUR,
    Airflow,
    Run,
    an_ask,
    close,
    outcome_of,
    start,
    state_of,
    task_at,
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
    assert run.task().state == "scheduled"
    assert outcome_of(run)["outcome"] == "failed"
    assert "could not register this request (ValueError)" in outcome_of(run)["because"]
    note = run.airflow.look(lambda s: task_at(s, run.place()).note)
    assert "Clear the gate to ask again" in note


def test_a_gate_that_is_still_on_its_way_is_not_given_up(run: Run) -> None:
    run.start()
    intake_id = run.send(an_ask())
    run.airflow.do(lambda s: registration.give_up(s, intake_id, "ValueError"))
    assert run.intakes()[0].state == "new"
    run.await_input()
    assert run.register(intake_id) is not None
    run.airflow.do(lambda s: registration.give_up(s, intake_id, "ValueError"))
    assert run.task().state == "awaiting_input", "what was registered meanwhile stays"


@pytest.mark.parametrize("reset_dag_runs", [True, False])
def test_a_gate_that_is_cleared_while_it_runs_is_asked_anew(run: Run, reset_dag_runs: bool) -> None:
    """Airflow keeps ``max_tries`` then, as after a retry of its own."""
    grant = run.approve()
    run.change("gate", state="running")
    before = run.task().max_tries
    cleared_at_work(run, reset_dag_runs)
    assert run.task().max_tries == before
    again = run.register(run.park())
    assert again is not None
    assert again.id != grant.request_id
    assert run.request(again.id).state == "pending"
    assert run.airflow.entries(kind="grant_killed", run_id=run.run_id)


@pytest.mark.parametrize("reset_dag_runs", [True, False])
def test_a_rejected_gate_that_is_cleared_while_it_runs_is_asked_anew(run: Run, reset_dag_runs: bool) -> None:
    run.vote(run.ask(), verdict=Verdict.REJECT)
    run.change("gate", state="running")
    cleared_at_work(run, reset_dag_runs)
    again = run.register(run.park())
    assert again is not None
    assert run.request(again.id).state == "pending"


def cleared_at_work(run: Run, reset_dag_runs: bool) -> None:
    """Clear the running gate by Airflow's API, as the middleware sees it; the next try begins."""
    override = Override("clear", run.dag_id, None, None, -1)
    touched = {"task_id": "gate", "map_index": -1, "dag_run_id": run.run_id, "dag_id": run.dag_id}
    state = DagRunState.QUEUED if reset_dag_runs else False
    run.airflow.do(lambda s: clear_task_instances([task_at(s, run.place())], s, state))
    assert run.task().state == "restarting"
    overrides.keep(
        override,
        ALICE,
        Channel.UI,
        {"dry_run": False, "dag_run_id": run.run_id, "task_ids": ["gate"]},
        {"task_instances": [touched]},
    )


def test_a_clear_that_touches_no_gate_kills_no_approval(run: Run) -> None:
    """A body may name a gate that ``only_failed`` then leaves alone."""
    run.approve()
    body = {"dry_run": False, "dag_run_id": run.run_id, "task_ids": ["gate"], "only_failed": False}
    override = Override("clear", run.dag_id, None, None, -1)
    overrides.keep(override, ALICE, Channel.UI, body, {"task_instances": []})
    whole = Override("clear", run.dag_id, run.run_id, None, -1)
    for spared in ("only_failed", "only_new"):
        body = {"dry_run": False, spared: True}
        overrides.keep(whole, ALICE, Channel.UI, body, {"dag_run_id": run.run_id})
    assert run.grant().state == "live"


def test_a_retry_that_asks_for_something_else_is_asked_anew(run: Run) -> None:
    grant = run.approve()
    run.retry()
    again = run.register(run.park(an_ask(reason="another")))
    assert again is not None
    assert again.id != grant.request_id
    assert run.request(again.id).state == "pending"
    kept = run.grant()
    assert kept is not None
    assert (kept.id, kept.state, kept.ended_because) == (
        grant.id, "killed", "the gate asked for something else",
    )  # fmt: skip


def test_what_was_approved_before_opens_nothing_once_something_else_was_rejected(run: Run) -> None:
    """The requester could mark the gate successful then, and use the approval of other data."""
    run.approve()
    run.retry()
    again = run.register(run.park(an_ask(reason="another")))
    assert again is not None
    run.vote(again, verdict=Verdict.REJECT)
    run.change("gate", state="success")
    refusal = start(run)
    assert refusal is not None
    assert "the gate asked for something else" in refusal.sentence


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
