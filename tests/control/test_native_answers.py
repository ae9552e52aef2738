"""An answer on Airflow's own page names a place; what was shown there has to be one content."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.models.connection import Connection
from sqlalchemy import update

from airflow_approvals.control import native_answers
from airflow_approvals.control.native_answers import ASKED_ANEW, NOT_REGISTERED, SHOWN_ONLY_NOW
from airflow_approvals.core.models import Refusal, Verdict
from tests.control.airflow_scene import Airflow, Run, an_ask


@pytest.fixture
def run(airflow: Airflow) -> Run:
    return airflow.a_run()


def answered(run: Run, verdict: Verdict = Verdict.APPROVE) -> str | Refusal:
    return native_answers.request_answered(run.place(), verdict)


def ask_again(run: Run, **changes: str) -> str:
    """Clear the gate and let it ask once more; return the id of the new request."""
    run.clear("gate")
    run.airflow.now += timedelta(seconds=1)
    return run.ask(an_ask(**changes)).id


def test_the_one_request_of_a_place_is_answered(run: Run) -> None:
    request = run.ask()
    assert answered(run) == request.id


def test_the_same_asked_again_is_answered(run: Run) -> None:
    run.ask()
    again = ask_again(run)
    assert answered(run) == again


def test_other_data_at_the_same_place_is_not_approved_by_a_page_that_may_show_the_first(run: Run) -> None:
    run.ask(an_ask(reason="benign"))
    again = ask_again(run, reason="evil")
    assert answered(run) is ASKED_ANEW
    assert answered(run, Verdict.REJECT) == again


def test_nor_once_it_was_asked_a_third_time(run: Run) -> None:
    run.ask(an_ask(reason="benign"))
    ask_again(run, reason="evil")
    ask_again(run, reason="evil")
    assert answered(run) is ASKED_ANEW


def test_another_destination_is_other_content(run: Run) -> None:
    run.ask()
    moved = update(Connection).where(Connection.conn_id == "sink_a").values(host="elsewhere.invalid")
    run.airflow.do(lambda s: s.execute(moved))
    ask_again(run)
    assert answered(run) is ASKED_ANEW


def test_what_is_registered_by_the_answer_itself_was_not_shown(run: Run) -> None:
    run.park()
    assert answered(run) is SHOWN_ONLY_NOW
    assert isinstance(answered(run), str)


def test_a_rejection_registers_and_counts(run: Run) -> None:
    run.park()
    assert isinstance(answered(run, Verdict.REJECT), str)


def test_a_gate_that_has_not_asked_is_not_registered(run: Run) -> None:
    assert answered(run) is NOT_REGISTERED
