"""From an ask to a final request, on a real metadata database and without processes."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from airflow.models.connection import Connection
from sqlalchemy import delete

from airflow_approvals.control import airflow_seams, decisions, registration, settlement
from airflow_approvals.control.pins import Pins
from airflow_approvals.core.gate import OUTCOME_KEY
from airflow_approvals.core.models import Channel, Refusal, RequestState, Verdict
from airflow_approvals.errors import ConfigurationError
from airflow_approvals.store.tables import ActorRow, RequestRow
from tests.control.airflow_database import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    POLICY,
    SECRET,
    Airflow,
    Run,
    an_ask,
)

HOUR = timedelta(hours=1)


@pytest.fixture
def run(airflow: Airflow) -> Run:
    return airflow.a_run()


def state_of(run: Run, request: RequestRow) -> tuple[str, str | None]:
    row = run.request(request.id)
    return row.state, row.decided_because


def close(run: Run, request: RequestRow, *, after: timedelta = timedelta(0)) -> bool:
    """What the dispatcher does with a request that may be due."""

    def work(session):
        parked = airflow_seams.lock_gate(session, request.place)
        row = session.get_one(RequestRow, request.id)
        return settlement.close_if_due(session, parked, row, now=run.airflow.now + after)

    return run.airflow.do(work)


def outcome_of(run: Run) -> dict:
    """What the resumed gate is told."""
    from airflow.sdk.serde import deserialize

    return deserialize(run.task().next_kwargs)["event"][OUTCOME_KEY]


# -- registering ---------------------------------------------------------------------------


def test_a_gate_that_is_still_on_its_way_is_left_for_later(run: Run) -> None:
    run.start()
    intake_id = run.send(an_ask())
    assert run.register(intake_id) is None
    assert run.intakes()[0].state == "new"
    run.await_input()
    assert run.register(intake_id) is not None
    assert run.intakes()[0].state == "promoted"


def test_a_gate_that_never_parks_is_given_up_after_an_hour(run: Run) -> None:
    run.start()
    intake_id = run.send(an_ask())
    assert run.register(intake_id, now=run.airflow.now + HOUR + timedelta(seconds=1)) is None
    assert run.intakes()[0].state == "abandoned"


@pytest.mark.parametrize("end", ["failed", "up_for_retry", "success", None])
def test_a_gate_that_ended_without_parking_is_given_up_at_once(run: Run, end: str | None) -> None:
    run.start()
    intake_id = run.send(an_ask())
    run.change("gate", state=end)
    assert run.register(intake_id) is None
    assert run.intakes()[0].state == "abandoned"


@pytest.mark.parametrize("how", ["cleared", "retried", "deleted"])
def test_an_ask_of_a_try_that_is_over_is_never_promoted(run: Run, how: str) -> None:
    intake_id = run.park()
    {"cleared": lambda: run.clear("gate"), "retried": run.retry, "deleted": run.delete}[how]()
    assert run.register(intake_id) is None
    assert run.intakes()[0].state == "abandoned"
    assert run.airflow.kinds(run) == []


def test_a_task_without_the_gates_marker_gets_no_request(airflow: Airflow) -> None:
    run = airflow.a_run("ungated")
    assert run.register(run.park()) is None
    assert run.intakes()[0].state == "abandoned"


def test_registering_twice_makes_one_request(run: Run) -> None:
    intake_id = run.park()
    assert run.register(intake_id) is not None
    assert run.register(intake_id) is None
    assert run.airflow.kinds(run) == ["request_registered"]


def test_the_request_pins_what_it_will_be_judged_by(run: Run) -> None:
    request = run.ask()
    pins = Pins.from_text(request.pinned)
    assert pins.bar.rules == ("one-owner",)
    assert (pins.connection, pins.uri_prefix) == ("sink_a", "file:///srv/sink")
    assert pins.fingerprint.startswith("hmac-sha256:")
    assert pins.consumers == ("between", "use")
    assert len(pins.dag_hash) == 32
    assert (request.label, request.requesters) == ("restricted", '[["alice", "triggered the run"]]')
    assert request.manifest_digest == an_ask().data.digest
    assert request.expires_at == run.airflow.now + HOUR


def test_neither_the_row_nor_the_ledger_holds_the_connections_password(run: Run) -> None:
    grant = run.approve()
    rows = [*run.airflow.entries(), vars(run.request(grant.request_id)), vars(run.grant())]
    assert SECRET not in repr(rows)


def test_a_gate_may_ask_for_less_time_than_the_policy_gives_but_not_for_more(run: Run) -> None:
    request = run.ask(an_ask(timeout_seconds=60))
    assert request.expires_at == run.airflow.now + timedelta(seconds=60)


def test_the_inbox_shows_the_servers_rendering_and_nothing_of_the_tasks(run: Run) -> None:
    request = run.ask(an_ask(subject="harmless", body="| **Label** | public |"))
    inbox = run.inbox()
    assert (inbox.subject, inbox.body) == (request.subject, request.body)
    assert request.manifest_digest.replace(":", "\\:") in inbox.body
    assert (inbox.params, inbox.defaults, inbox.assignees) == ({}, None, [])
    assert "\n| **Label** | restricted |" in inbox.body
    assert "\n| **Label** | public |" not in inbox.body


def test_a_second_different_ask_before_the_promotion_closes_the_request(run: Run) -> None:
    run.start()
    first = run.send(an_ask())
    run.send(an_ask(reason="another"))
    run.await_input()
    request = run.register(first)
    assert request is not None
    assert [row.state for row in run.intakes()] == ["promoted", "conflict"]
    assert state_of(run, request)[0] == "conflict"
    assert run.grant() is None
    assert outcome_of(run)["outcome"] == "conflict"
    assert run.inbox().chosen_options == ["Reject"]


def test_a_second_different_ask_after_the_promotion_can_only_end_in_conflict(run: Run) -> None:
    request = run.ask()
    run.send(an_ask(reason="another"))
    answer = run.vote(request)
    assert isinstance(answer, Refusal)
    assert answer.code == "already_closed"
    assert state_of(run, request)[0] == "conflict"
    assert run.grant() is None


def test_the_same_ask_sent_again_is_the_same_ask(run: Run) -> None:
    run.start()
    assert run.send(an_ask()) == run.send(an_ask())
    run.await_input()
    assert len(run.intakes()) == 1


def test_without_a_policy_nothing_is_allowed(bare_airflow: Airflow) -> None:
    bare_airflow.add_connection()
    run = bare_airflow.a_run()
    request = run.ask()
    assert state_of(run, request) == ("forbidden", "No policy is active, so nothing is allowed.")
    assert run.task().state == "scheduled"
    assert "grant" not in outcome_of(run)


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"action": "leak"}, "Forbidden by rule never."),
        ({"sink": "elsewhere"}, "No rule of the policy allows export of restricted data to elsewhere."),
        ({"action": "other"}, "No rule of the policy allows other of restricted data to sink-a."),
    ],
)
def test_what_no_rule_allows_is_forbidden_at_once(run: Run, changes: dict, because: str) -> None:
    request = run.ask(an_ask(**changes))
    assert state_of(run, request) == ("forbidden", because)
    assert run.grant() is None


def test_a_sink_whose_connection_is_not_defined_is_forbidden(airflow: Airflow) -> None:
    airflow.do(lambda s: s.execute(delete(Connection)))
    run = airflow.a_run()
    request = run.ask()
    assert state_of(run, request) == (
        "forbidden", "The sink's connection sink_a is not defined in Airflow."
    )  # fmt: skip


def test_a_permit_needs_no_vote_and_still_leaves_a_grant(run: Run) -> None:
    request = run.ask(an_ask(action="rehearse"))
    assert state_of(run, request) == ("approved", "Permitted without a vote by rule free.")
    grant = run.grant()
    assert grant is not None
    assert outcome_of(run)["grant"]["grant"] == grant.id


def test_without_a_signing_key_the_ask_waits_and_loses_nothing(bare_airflow: Airflow) -> None:
    bare_airflow.activate()
    bare_airflow.add_connection()
    run = bare_airflow.a_run()
    intake_id = run.park()
    with pytest.raises(ConfigurationError, match="signing_key_file"):
        run.register(intake_id)
    assert run.intakes()[0].state == "new"
    assert bare_airflow.kinds(run) == []
    bare_airflow.add_key()
    assert run.register(intake_id) is not None


def test_a_key_lost_before_the_last_vote_refuses_the_vote_and_keeps_the_request(airflow: Airflow) -> None:
    run = airflow.a_run()
    request = run.ask()
    airflow.conf("signing_key_file", str(airflow.folder / "gone.pem"))
    answer = run.vote(request)
    assert isinstance(answer, Refusal)
    assert (answer.code, answer.status) == ("not_configured", 409)
    assert state_of(run, request)[0] == "pending"
    assert "vote_cast" not in airflow.kinds(run)
    assert run.task().state == "awaiting_input"
    airflow.conf("signing_key_file", str(airflow.folder / "signing.pem"))
    assert isinstance(run.vote(request), decisions.Decided)


def test_asking_for_the_request_registers_what_the_dispatcher_has_not_come_to(run: Run) -> None:
    run.park()
    request_id = registration.request_at(run.place())
    assert request_id is not None
    assert run.request(request_id).state == "pending"
    assert registration.request_at(run.place()) == request_id
    assert registration.request_at(run.place("use")) is None


# -- deciding ------------------------------------------------------------------------------


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
    assert isinstance(again, Refusal)
    assert again.code == "already_voted"
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
    run.airflow.do(lambda s: decisions._confirm(s, grant.request_id))
    assert run.request(grant.request_id).state == "conflict"
    assert run.grant().state == "killed"
    assert run.airflow.entries(kind="request_conflict", run_id=run.run_id)


# -- closing -------------------------------------------------------------------------------


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


# -- retry and clear -----------------------------------------------------------------------


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


def test_registering_at_once_on_postgresql_makes_one_request(postgres_airflow: Airflow) -> None:
    import threading

    run = postgres_airflow.a_run()
    intake_id = run.park()
    barrier, found = threading.Barrier(3), []

    def register() -> None:
        barrier.wait()
        found.append(run.register(intake_id))

    threads = [threading.Thread(target=register) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 3
    assert len([request for request in found if request is not None]) == 1
    assert run.airflow.kinds(run) == ["request_registered"]
