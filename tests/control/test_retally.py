"""The votes are counted again when a grant is about to open the sink."""

from __future__ import annotations

import pytest

from airflow_approvals.control import judging, retally
from airflow_approvals.control.requesters import Requesters
from airflow_approvals.core.bar import EvidenceDemand
from airflow_approvals.core.models import Refusal
from airflow_approvals.core.seats import Seat
from airflow_approvals.identity.directory import Membership
from airflow_approvals.store.release_tables import BreakGlassRow
from airflow_approvals.store.tables import ActorRow, RequestRow
from tests.control import emergency_scene
from tests.control.airflow_scene import BOB, CAROL, POLICY, Airflow, Run, open_sink, start, task_at


@pytest.fixture
def run(airflow: Airflow) -> Run:
    return airflow.a_run()


def without(name: str) -> Membership:
    """The groups as they would be without that person."""
    now = judging.membership_now()
    return Membership(now.policy, {group: people - {name} for group, people in now.groups.items()})


def ask_again(run: Run, members: Membership | None = None) -> Refusal | None:
    """What :func:`still_satisfied` says of the run's newest grant."""
    grant = run.grant()
    assert grant is not None
    known = members or judging.membership_now()
    return run.airflow.do(
        lambda s: retally.still_satisfied(s, s.get_one(RequestRow, grant.request_id), known, run.airflow.now)
    )


def act(run: Run, person: str) -> None:
    """Let somebody clear a task of the run."""
    actor = ActorRow(
        dag_id=run.dag_id, run_id=run.run_id, task_id="aside", map_index=-1,
        person_id=person, person_name=person, act="clear", at=run.airflow.now,
    )  # fmt: skip
    run.airflow.do(lambda s: s.add(actor))


def test_votes_that_are_still_enough_open_the_sink(run: Run) -> None:
    run.approve()
    assert ask_again(run) is None
    assert start(run) is None
    assert open_sink(run) is None


def test_what_is_approved_after_another_policy_was_activated_opens_the_sink(run: Run) -> None:
    request = run.ask()
    run.airflow.activate_bar(seats=(Seat("owners", 2),))
    run.vote(request, BOB)
    run.vote(request, CAROL)
    start(run)
    assert open_sink(run) is None
    (entry,) = run.airflow.entries(kind="grant_issued", run_id=run.run_id)
    assert entry["details"]["policy"] != request.policy_digest


@pytest.mark.parametrize(
    ("what", "instead"),
    [
        ("file:///srv/sink", "file:///srv/elsewhere"),
        ("assurance: run-bound", "assurance: content-bound"),
        ("connection: sink_a,", "connection: sink_b,"),
    ],
)
def test_a_sink_that_leads_elsewhere_by_now_gets_no_approval(run: Run, what: str, instead: str) -> None:
    request = run.ask()
    run.airflow.activate(POLICY.replace(what, instead))
    refusal = run.vote(request)
    assert isinstance(refusal, Refusal)
    assert "has sink sink-a lead elsewhere" in refusal.sentence
    assert run.request(request.id).state == "forbidden"
    assert run.grant() is None


def test_an_approver_who_has_left_the_group_opens_nothing_until_back(run: Run) -> None:
    run.approve()
    start(run)
    refusal = open_sink(run, members=without("bob"))
    assert refusal is not None
    assert refusal.code == "no_grant"
    assert "it still needs 1 of owners" in refusal.sentence
    assert run.airflow.look(lambda s: task_at(s, run.place("use")).note) == refusal.sentence
    (entry,) = run.airflow.entries(kind="credential_refused", run_id=run.run_id)
    assert entry["details"]["because"] == refusal.sentence
    assert not run.airflow.entries(kind="credential_handed_out", run_id=run.run_id)
    assert run.grant().state == "live"
    assert open_sink(run) is None


def test_an_approver_who_has_shaped_the_run_since_opens_nothing(run: Run) -> None:
    run.approve()
    start(run)
    act(run, "bob")
    refusal = open_sink(run)
    assert refusal is not None
    assert "no longer enough" in refusal.sentence
    assert run.grant().state == "live"


def test_who_shaped_the_run_at_the_decision_stays_out_when_their_act_is_forgotten(run: Run) -> None:
    request = run.ask()
    act(run, "carol")
    run.vote(request, BOB)
    assert "carol" in Requesters.from_text(run.request(request.id).requesters).names


def test_a_policy_that_asks_for_more_by_now_is_not_satisfied(run: Run) -> None:
    run.approve()
    run.airflow.activate_bar(seats=(Seat("owners", 2),))
    refusal = ask_again(run)
    assert refusal is not None
    assert (refusal.code, refusal.status) == ("no_longer_satisfied", 409)


def test_a_policy_that_asks_for_less_by_now_changes_nothing(airflow: Airflow) -> None:
    airflow.activate_bar(seats=(Seat("owners", 1),), approver_reason=("looked",))
    run = airflow.a_run()
    run.approve()
    airflow.activate()
    assert ask_again(run) is None
    assert ask_again(run, without("bob")) is not None


def test_evidence_that_is_asked_for_by_now_has_to_be_there(run: Run) -> None:
    run.approve()
    run.airflow.activate_bar(evidence=EvidenceDemand.VERIFIED)
    refusal = ask_again(run)
    assert refusal is not None
    assert refusal.code == "evidence_pending"


def test_groups_of_another_policy_are_not_counted_with(run: Run) -> None:
    run.approve()
    before = judging.membership_now()
    run.airflow.activate_bar()
    with pytest.raises(judging.PolicyReplacedError):
        ask_again(run, before)


@pytest.fixture
def opened(airflow: Airflow) -> Run:
    """A run whose gate erin has opened alone."""
    emergency_scene.activate(airflow)
    run = airflow.a_run()
    emergency_scene.open_gate(run.ask(), emergency_scene.ERIN)
    return run


def test_an_emergency_stands_in_for_votes_until_its_review_is_overdue(opened: Run) -> None:
    assert ask_again(opened, without("bob")) is None
    use = opened.grant().request_id
    opened.airflow.do(lambda s: setattr(s.get_one(BreakGlassRow, use), "review_due_at", opened.airflow.now))
    assert "not reviewed in time" in ask_again(opened).sentence


def test_whoever_opened_it_and_left_the_group_opens_nothing_until_back(opened: Run) -> None:
    assert start(opened) is None
    refusal = open_sink(opened, members=without("erin"))
    assert refusal is not None
    assert refusal.sentence.endswith("in an emergency is no longer in group on-call.")
    assert open_sink(opened) is None


def test_an_emergency_opens_nothing_while_its_group_cannot_be_asked(opened: Run) -> None:
    now = judging.membership_now()
    unknown = Membership(now.policy, now.groups, {"on-call": "It is down."})
    assert "cannot be asked now" in ask_again(opened, unknown).sentence


def test_an_emergency_opens_nothing_once_the_policy_has_no_break_glass(opened: Run) -> None:
    emergency_scene.activate(opened.airflow, rule=None)
    assert "has no break-glass" in ask_again(opened).sentence


def test_the_vote_of_what_is_listed_as_a_service_account_since_no_longer_counts(run: Run) -> None:
    run.approve()
    run.airflow.conf("service_accounts", "bob")
    refusal = ask_again(run)
    assert refusal is not None
    assert refusal.code == "no_longer_satisfied"
