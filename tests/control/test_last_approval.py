"""Which approval a request is compared with, on real tables."""

from __future__ import annotations

from dataclasses import replace

from airflow_approvals.channels import plain_text, required_actions
from airflow_approvals.channels.facts import FIRST_APPROVAL
from airflow_approvals.control.views import request_facts
from airflow_approvals.core.ask import Ask
from airflow_approvals.core.models import Verdict
from airflow_approvals.store.release_tables import BreakGlassRow
from airflow_approvals.store.tables import RequestRow
from tests.control.airflow_scene import BOB, HOUR, Airflow, an_ask


def bigger(rows: int) -> Ask:
    ask = an_ask()
    return replace(ask, data=replace(ask.data, rows=rows))


def changes(airflow: Airflow, request: RequestRow) -> tuple[str, ...]:
    return airflow.look(lambda s: request_facts(s, request.id)).changes


def test_the_first_approval_is_said_to_be_that_everywhere(airflow: Airflow) -> None:
    run = airflow.a_run()
    request = run.ask()
    facts = airflow.look(lambda s: request_facts(s, request.id))
    assert (facts.last_approved_at, facts.changes) == (None, ())
    assert FIRST_APPROVAL in plain_text.render(facts)
    assert required_actions.escape(FIRST_APPROVAL) in run.inbox().body


def test_a_request_is_compared_with_the_last_approval_of_the_same_dag_and_sink(airflow: Airflow) -> None:
    for rows in (1, 5):
        airflow.a_run().approve(bigger(rows))
    rejected = airflow.a_run()
    rejected.vote(rejected.ask(bigger(7)), BOB, Verdict.REJECT)
    run = airflow.a_run()
    request = run.ask(bigger(9))
    assert changes(airflow, request) == ("rows: 5 → 9 (+4)",)
    facts = airflow.look(lambda s: request_facts(s, request.id))
    assert facts.compared_with.startswith("Since the approval of 20")
    assert "rows: 5 → 9" in plain_text.render(facts)
    assert required_actions.escape("rows: 5 → 9 (+4)") in run.inbox().body


def test_another_sink_is_another_story(airflow: Airflow) -> None:
    grant = airflow.a_run().approve(bigger(5))
    airflow.do(lambda s: setattr(s.get_one(RequestRow, grant.request_id), "sink", "sink-b"))
    assert changes(airflow, airflow.a_run().ask(bigger(9))) == ()


def test_what_nobody_looked_at_is_no_approval_to_compare_with(airflow: Airflow) -> None:
    grant = airflow.a_run().approve(bigger(5))
    use = BreakGlassRow(
        request_id=grant.request_id,
        person_id="bob",
        person_name="bob",
        reason="fire",
        ticket="T-1",
        skipped="[]",
        used_at=airflow.now,
        review_due_at=airflow.now + HOUR,
    )
    airflow.do(lambda s: s.add(use))
    assert changes(airflow, airflow.a_run().ask(bigger(9))) == ()


def test_what_is_shown_does_not_change_with_later_approvals(airflow: Airflow) -> None:
    airflow.a_run().approve(bigger(1))
    decided = airflow.a_run()
    request = decided.ask(bigger(2))
    decided.vote(request)
    airflow.a_run().approve(bigger(3))
    assert changes(airflow, request) == ("rows: 1 → 2 (+1)",)
