"""What a dispatcher round does, and what it leaves alone, on a real metadata database."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from airflow._shared.observability.metrics import stats
from pytest_mock import MockerFixture
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from airflow_approvals import dispatcher
from airflow_approvals.config.settings import Settings
from airflow_approvals.control import health, metrics, registration
from airflow_approvals.errors import PolicyError, UnavailableError
from airflow_approvals.store.tables import GrantRow, IntakeRow, LeaseRow, RequestRow
from tests.control.airflow_scene import Airflow, an_ask, use


def past(airflow: Airflow, row: type[RequestRow] | type[GrantRow], row_id: str, column: str) -> None:
    moment = datetime.now(UTC) - timedelta(seconds=1)
    airflow.do(lambda s: setattr(s.get_one(row, row_id), column, moment))


def test_a_round_registers_what_has_parked_and_leaves_what_has_not(airflow: Airflow) -> None:
    parked, starting = airflow.a_run(), airflow.a_run()
    parked.park()
    starting.start()
    starting.send(an_ask())
    assert dispatcher.run_round() == 1
    assert airflow.kinds(parked) == ["request_registered"]
    assert dispatcher.run_round() == 0, "nothing is new or due any more"


def test_a_round_expires_what_is_due(airflow: Airflow) -> None:
    run = airflow.a_run()
    request = run.ask()
    assert dispatcher.run_round() == 0
    past(airflow, RequestRow, request.id, "expires_at")
    assert dispatcher.run_round() == 1
    assert run.request(request.id).state == "expired"
    assert run.task().state == "scheduled"


def test_a_round_sees_a_release_through_and_a_grant_run_out(airflow: Airflow) -> None:
    released, late = airflow.a_run(), airflow.a_run()
    released.approve()
    released.finish("gate")
    use(released)
    released.finish("use")
    grant = late.approve()
    past(airflow, GrantRow, grant.id, "not_after")
    assert dispatcher.run_round() == 2
    ends = [run.grant().state for run in (released, late)]
    assert ends == ["spent", "expired"]


@pytest.mark.parametrize("gone", ["delete", "clear"])
def test_a_round_finds_requests_whose_gate_has_gone(airflow: Airflow, gone: str) -> None:
    run = airflow.a_run()
    request = run.ask()
    run.delete() if gone == "delete" else run.clear("gate")
    assert dispatcher.run_round() == 0
    assert dispatcher.run_round(strays=True) == 1
    assert run.request(request.id).state == "withdrawn"


def test_what_cannot_be_registered_holds_up_no_other(airflow: Airflow, mocker: MockerFixture) -> None:
    broken, sound = airflow.a_run(), airflow.a_run()
    broken_id = broken.park()
    sound.park()
    register = registration.register_now
    mocker.patch.object(
        registration,
        "register_now",
        lambda intake_id: 1 / 0 if intake_id == broken_id else register(intake_id),
    )
    assert dispatcher.run_round() == 1
    assert [row.state for row in broken.intakes()] == ["failed"]
    assert airflow.kinds(broken) == ["intake_invalid"]
    assert airflow.kinds(sound) == ["request_registered"]


@pytest.mark.parametrize(
    "error",
    [PoolTimeoutError("the pool is empty"), PolicyError("A newer server's policy.")],
    ids=["pool", "policy"],
)
def test_what_may_pass_puts_nothing_aside(airflow: Airflow, mocker: MockerFixture, error: Exception) -> None:
    run = airflow.a_run()
    run.park()
    mocker.patch.object(registration, "register_now", side_effect=error)
    assert dispatcher.run_round() == 0
    assert [row.state for row in run.intakes()] == ["new"]
    mocker.stopall()
    assert dispatcher.run_round() == 1


def test_a_backend_that_does_not_answer_is_not_waited_for_in_every_round(
    airflow: Airflow, mocker: MockerFixture
) -> None:
    mocker.patch.object(dispatcher, "_AGAIN_AT", {})
    run, other = airflow.a_run(), airflow.a_run()
    silent = run.park()
    other.park()
    register = registration.register_now
    asked = []

    def one(intake_id: int) -> str | None:
        asked.append(intake_id)
        if intake_id == silent:
            raise UnavailableError("Vault does not answer.")
        return register(intake_id)

    mocker.patch.object(registration, "register_now", one)
    assert dispatcher.run_round() == 1
    assert dispatcher.run_round() == 0
    assert asked.count(silent) == 1
    assert [row.state for row in run.intakes()] == ["new"]
    dispatcher._AGAIN_AT[silent] = datetime.now(UTC)
    long_ago = datetime.now(UTC) - timedelta(hours=3)
    airflow.do(lambda s: setattr(s.get_one(IntakeRow, silent), "received_at", long_ago))
    assert dispatcher.run_round() == 0
    assert [row.state for row in run.intakes()] == ["failed"], "its gate was to wait two hours"
    assert run.task().state == "scheduled"


def test_health_names_what_needs_a_person(bare_airflow: Airflow) -> None:
    problems = " ".join(health.report()["problems"])
    assert "No dispatcher is running" in problems
    assert "signing_key_file is not set" in problems
    assert "No policy is active" in problems


def test_every_figure_of_health_is_a_gauge(airflow: Airflow, mocker: MockerFixture) -> None:
    gauge, timing = mocker.patch.object(stats, "gauge"), mocker.patch.object(stats, "timing")
    airflow.a_run().ask()
    metrics.measure_round(timedelta(seconds=1))
    told = {call.args[0]: call.args[1] for call in gauge.call_args_list}
    assert told["approvals.pending"] == 1
    assert {name.removeprefix("approvals.") for name in told} == {
        name for name, value in health.figures().items() if value is not None
    }
    assert timing.call_args.args[0] == "approvals.dispatcher.round"


def test_the_loop_works_until_it_is_told_to_stop_and_lets_go_of_its_lease(
    airflow: Airflow, mocker: MockerFixture
) -> None:
    delivered = mocker.patch.object(dispatcher.messages, "process_and_deliver")
    run = airflow.a_run()
    run.park()
    loop = dispatcher.Dispatcher(Settings(dispatcher_interval_seconds=0.05))
    loop.start()
    deadline = time.monotonic() + 20
    while not (airflow.kinds(run) and delivered.called) and time.monotonic() < deadline:
        time.sleep(0.05)
    loop.request_stop()
    loop.wait()
    assert airflow.kinds(run) == ["request_registered"]
    assert delivered.called
    lease_row = airflow.look(lambda s: s.get_one(LeaseRow, "dispatcher"))
    assert lease_row.expires_at <= datetime.now(UTC)
