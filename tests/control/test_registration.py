"""From an ask to a registered request, on a real metadata database."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.models.connection import Connection
from sqlalchemy import delete

from airflow_approvals.control import decisions, intake, registration
from airflow_approvals.control.pins import Pins
from airflow_approvals.control.requesters import Requesters
from airflow_approvals.core.ask import ASK_PARAM
from airflow_approvals.core.bar import Unattributed
from airflow_approvals.core.models import Person, Refusal
from airflow_approvals.errors import ConfigurationError
from airflow_approvals.seams import dag_graph
from airflow_approvals.store.tables import GrantRow
from tests.control.airflow_scene import (
    HOUR,
    SECRET,
    Airflow,
    Run,
    an_ask,
    outcome_of,
    state_of,
    task_at,
)
from tests.identity import fab_scene


@pytest.fixture
def run(airflow: Airflow) -> Run:
    return airflow.a_run()


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


def test_a_gate_whose_dag_cannot_be_read_is_told_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    intake_id = run.park()
    monkeypatch.setattr(dag_graph, "load_dag", lambda session, ti: None)
    assert run.register(intake_id) is None
    assert run.intakes()[0].state == "failed"
    assert run.inbox().response_received
    assert "its DAG cannot be read" in (run.airflow.look(lambda s: task_at(s, run.place()).note) or "")
    assert run.airflow.kinds(run) == ["intake_invalid"]


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
    assert request.label == "restricted"
    assert Requesters.from_text(request.requesters).members == (("alice", "triggered the run"),)
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


def test_an_ask_after_one_that_was_refused_is_the_first(run: Run) -> None:
    run.start()
    body = {"params": {ASK_PARAM: {"version": 1}}}
    run.airflow.do(lambda s: intake.take_down(s, task_at(s, run.place()), body, now=run.airflow.now))
    run.send(an_ask())
    run.await_input()
    assert [row.state for row in run.intakes()] == ["invalid", "new"]
    request = run.register(run.intakes()[1].id)
    assert request is not None
    assert state_of(run, request)[0] == "pending"


def test_a_decision_is_not_given_again_by_an_approval_that_ran_out(run: Run) -> None:
    grant = run.approve()
    past = run.airflow.now - timedelta(seconds=1)
    run.airflow.do(lambda s: setattr(s.get_one(GrantRow, grant.id), "not_after", past))
    run.retry()
    again = run.register(run.park())
    assert again is not None
    assert state_of(run, again)[0] == "pending"


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


@pytest.mark.parametrize(
    ("bar", "asked", "words"),
    [
        (
            {"requester_reason": ("retrain .+",)},
            {"reason": "because"},
            "asks for a reason of the form retrain .+",
        ),
        ({"requester_reason": (".{3,}",)}, {"reason": None}, "set reason of the gate and run it again"),
        (
            {"ticket": ("CHG-[0-9]+", ".{6,}")},
            {"ticket": "CHG-1"},
            "asks for a ticket number of the form .{6,}",
        ),
        ({"ticket": ("CHG-[0-9]+",)}, {"ticket": "see CHG-12345"}, "of the form CHG-[0-9]+"),
    ],
)
def test_an_ask_whose_words_do_not_match_is_forbidden_with_the_way_out(
    airflow: Airflow, bar: dict, asked: dict, words: str
) -> None:
    airflow.activate_bar(**bar)
    run = airflow.a_run()
    state, because = state_of(run, run.ask(an_ask(**asked)))
    assert state == "forbidden"
    assert because is not None
    assert because.startswith("Rule one-owner asks for")
    assert words in because
    assert outcome_of(run)["because"] == because
    assert run.grant() is None


def test_an_ask_whose_words_match_waits_for_votes(airflow: Airflow) -> None:
    airflow.activate_bar(requester_reason=("a .+",), ticket=("CHG-[0-9]+",))
    run = airflow.a_run()
    assert state_of(run, run.ask(an_ask(ticket=" CHG-7 ")))[0] == "pending"


def test_an_unattributed_run_is_forbidden_where_the_rule_says_so(airflow: Airflow) -> None:
    airflow.activate_bar(unattributed=Unattributed.FORBID)
    run = airflow.a_run(user=None)
    state, because = state_of(run, run.ask())
    assert state == "forbidden"
    assert because is not None
    assert "Nobody can be named who started this run, and rule one-owner forbids that" in because
    named = airflow.a_run()
    assert state_of(named, named.ask())[0] == "pending"


def test_a_reason_that_is_asked_for_by_the_time_of_the_vote_counts_as_well(airflow: Airflow) -> None:
    run = airflow.a_run()
    request = run.ask()
    airflow.activate_bar(requester_reason=("retrain .+",))
    refusal = run.vote(request)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "forbidden"
    assert state_of(run, request)[0] == "forbidden"


def test_a_requester_stays_barred_under_another_name(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator of FAB can rename the account while the request waits."""
    fab_scene.make_tables(airflow.database)
    key = fab_scene.add_user(airflow.database, "alice", "Owner", key=5)
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", fab_scene.FAB)
    run = airflow.a_run(user="alice")
    request = run.ask()
    assert (key, "account of alice") in Requesters.from_text(request.requesters).members
    renamed = run.vote(request, Person(key, "bob"))
    assert isinstance(renamed, Refusal)
    assert renamed.code == "self_approval"


def test_enough_gates_that_are_still_on_their_way_hold_up_no_other(airflow: Airflow) -> None:
    slow, ready = airflow.a_run(), airflow.a_run()
    slow.start("gate")
    first = slow.send(an_ask())
    second = ready.park()
    now = airflow.now
    assert airflow.look(lambda s: intake.waiting(s, now=now, limit=1)) == [second]
    hours_later = now + timedelta(hours=2)
    assert airflow.look(lambda s: intake.waiting(s, now=hours_later, limit=1)) == [first], "to be given up"
