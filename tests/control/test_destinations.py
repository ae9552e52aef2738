"""Approvers see where a sink's Connection leads, and that it is another one than last time."""

from __future__ import annotations

import pytest
from airflow.models.connection import Connection
from sqlalchemy import update

from airflow_approvals.control import views
from airflow_approvals.control.pins import Pins
from tests.control.airflow_scene import SECRET, Airflow, Run, an_ask


def move(airflow: Airflow, host: str = "mine.invalid") -> None:
    """What an administrator can do to a Connection before a gate asks."""
    edited = update(Connection).where(Connection.conn_id == "sink_a").values(host=host)
    airflow.do(lambda s: s.execute(edited))


def asked(airflow: Airflow, action: str = "export") -> tuple[Run, str, Pins]:
    run = airflow.a_run()
    request = run.ask(an_ask(action=action))
    return run, request.id, Pins.from_text(request.pinned)


def test_host_and_assurance_are_facts_and_entered(airflow: Airflow) -> None:
    run, request_id, pins = asked(airflow)
    facts = airflow.look(lambda s: views.request_facts(s, request_id))
    assert (facts.endpoint, facts.assurance) == ("generic://sink.invalid", "run-bound")
    assert (pins.endpoint_changed, facts.endpoint_changed) == (False, False)
    (registered,) = airflow.entries(kind="request_registered", run_id=run.run_id)
    assert registered["details"]["assurance"] == "run-bound"
    assert SECRET not in str(facts) + run.inbox().body


def test_the_grant_says_in_the_ledger_what_it_vouches_for(airflow: Airflow) -> None:
    run = airflow.a_run()
    run.approve()
    (issued,) = airflow.entries(kind="grant_issued", run_id=run.run_id)
    assert issued["details"]["assurance"] == "run-bound"


def test_an_edit_before_the_gate_asks_is_marked_until_people_have_approved_it(airflow: Airflow) -> None:
    airflow.a_run().approve()
    assert not asked(airflow)[2].endpoint_changed
    move(airflow)
    run, request_id, pins = asked(airflow)
    assert pins.endpoint_changed
    assert "changed since the last approval" in run.inbox().body
    (registered,) = airflow.entries(kind="request_registered", run_id=run.run_id)
    assert registered["details"]["endpoint_changed"] is True
    run.vote(run.request(request_id))
    assert not asked(airflow)[2].endpoint_changed


def test_what_nobody_voted_for_does_not_make_an_edit_known(airflow: Airflow) -> None:
    airflow.a_run().approve()
    move(airflow)
    permitted = airflow.a_run().ask(an_ask(action="rehearse"))
    assert permitted.state == "approved"
    assert asked(airflow)[2].endpoint_changed


@pytest.mark.parametrize("host", ["https://bob:pw@other.invalid/hook/secret", "other.invalid"])
def test_no_part_of_an_account_is_shown(airflow: Airflow, host: str) -> None:
    move(airflow, host)
    run, _, pins = asked(airflow)
    assert pins.endpoint == "generic://other.invalid"
    assert "pw" not in run.inbox().body.lower()
