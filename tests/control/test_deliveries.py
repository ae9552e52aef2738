"""What cannot be delivered is seen: on the request, on the terminal, and by the doctor."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from airflow_approvals.api.requests import _read
from airflow_approvals.cli.requests import show
from airflow_approvals.config.settings import Settings
from airflow_approvals.control import deliveries
from airflow_approvals.control.deliveries import Delivery, Trouble
from airflow_approvals.doctor.deliveries import messages_delivered
from airflow_approvals.doctor.findings import Severity, Surroundings
from airflow_approvals.identity import users
from airflow_approvals.store import outbox as rows
from airflow_approvals.store.tables import OutboxRow, RequestRow
from tests.control.airflow_scene import Airflow

ERROR = "Slack refused the call: not_in_channel."
DAY = timedelta(days=1)


def queue(airflow: Airflow, request: RequestRow, kind: str = "request", **changes: Any) -> None:
    planned = changes.pop("planned", timedelta(0))

    def work(session: Session) -> None:
        due = airflow.now + planned
        row = rows.add(session, request.id, kind, channel="slack", now=airflow.now, due=due)
        for name, value in changes.items():
            setattr(row, name, value)

    airflow.do(work)


def told(airflow: Airflow, request: RequestRow) -> tuple[Delivery, ...]:
    return airflow.look(lambda s: deliveries.of_request(s, request.id))


def stand(airflow: Airflow, request: RequestRow) -> None:
    def work(session: Session) -> None:
        rows.reserve(session, request.id, channel="slack", recipient="C0TEST", now=airflow.now)
        rows.record(session, request.id, "C0TEST:1.1", channel="slack", now=airflow.now)

    airflow.do(work)


@pytest.fixture
def request_(airflow: Airflow) -> RequestRow:
    return airflow.a_run().ask()


def test_without_a_medium_nobody_is_told_and_nothing_is_wrong(airflow: Airflow, request_: RequestRow) -> None:
    assert told(airflow, request_) == ()


def test_how_a_message_gets_on(airflow: Airflow, request_: RequestRow) -> None:
    queue(airflow, request_)
    queue(airflow, request_, "remind", planned=DAY)
    assert told(airflow, request_) == (Delivery("slack", "waiting", "request", None, 0),)
    airflow.do(lambda s: s.query(OutboxRow).filter_by(kind="request").update({"state": rows.SENT}))
    stand(airflow, request_)
    assert told(airflow, request_) == (Delivery("slack", "delivered", "request", None, 0),)
    queue(airflow, request_, "update", attempts=4, last_error=ERROR)
    assert told(airflow, request_) == (Delivery("slack", "waiting", "update", ERROR, 4),)
    queue(airflow, request_, "story", attempts=20, state=rows.FAILED, last_error=ERROR)
    assert told(airflow, request_) == (Delivery("slack", "failed", "story", ERROR, 20),)


def test_a_request_that_was_closed_before_anybody_was_told(airflow: Airflow, request_: RequestRow) -> None:
    queue(airflow, request_, "update", state=rows.SENT)
    assert told(airflow, request_) == (Delivery("slack", "not sent", "request", None, 0),)
    queue(airflow, request_, "decided", state=rows.SENT)
    assert told(airflow, request_) == (Delivery("slack", "delivered", "request", None, 0),)


def test_the_rest_api_and_the_terminal_say_so(
    airflow: Airflow, request_: RequestRow, capsys: pytest.CaptureFixture[str], mocker: Any
) -> None:
    queue(airflow, request_, attempts=20, state=rows.FAILED, last_error=ERROR)
    mocker.patch.object(users, "may_see", return_value=True)
    detail = airflow.look(lambda s: _read(s, mocker.Mock(), request_.id))
    assert [one.model_dump() for one in detail.deliveries] == [
        {"medium": "slack", "state": "failed", "kind": "request", "error": ERROR, "attempts": 20}
    ]
    show(Namespace(request_id=request_.id))
    assert f"slack: failed request, attempt 20: {ERROR}" in capsys.readouterr().out


def troubles(airflow: Airflow, *, after: timedelta = timedelta(0)) -> list[Trouble]:
    return airflow.look(lambda s: deliveries.troubles(s, now=airflow.now + after))


def test_trouble_is_told_by_reason_and_without_naming_requests(airflow: Airflow) -> None:
    first, second = airflow.a_run().ask(), airflow.a_run().ask()
    for request in (first, second):
        queue(airflow, request, attempts=20, state=rows.FAILED, last_error=ERROR)
        queue(airflow, request, "story", attempts=3, last_error="Slack could not be reached (URLError).")
    assert troubles(airflow) == [
        Trouble("slack", "Slack could not be reached (URLError).", 2, 2, given_up=False),
        Trouble("slack", ERROR, 2, 2, given_up=True),
    ]


def test_what_was_given_up_about_a_closed_request_is_told_for_a_day(
    airflow: Airflow, request_: RequestRow
) -> None:
    queue(airflow, request_, attempts=20, state=rows.FAILED, last_error=ERROR)
    assert len(troubles(airflow, after=2 * DAY)) == 1, "as long as it is open"
    airflow.do(lambda s: setattr(s.get_one(RequestRow, request_.id), "state", "expired"))
    assert len(troubles(airflow)) == 1
    assert troubles(airflow, after=2 * DAY) == []


@pytest.mark.parametrize("attempts", [0, 1, 2])
def test_a_first_failure_is_no_trouble_yet(airflow: Airflow, request_: RequestRow, attempts: int) -> None:
    queue(airflow, request_, attempts=attempts, last_error=ERROR)
    assert troubles(airflow) == []


def test_the_doctor_warns_and_names_the_way_out(airflow: Airflow, request_: RequestRow) -> None:
    around = Surroundings(Settings(), {}, frozenset(), (), airflow.now)
    assert list(messages_delivered(around)) == []
    queue(airflow, request_, attempts=20, state=rows.FAILED, last_error=ERROR)
    (found,) = messages_delivered(around)
    assert (found.check, found.severity) == ("undelivered", Severity.WARNING)
    assert ERROR in found.what
    assert "airflow approvals slack check" in found.fix
    assert list(messages_delivered(replace(around, worker=True))) == []
