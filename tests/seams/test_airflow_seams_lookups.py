"""What Airflow knows of connections, as the seams read it from a real database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from airflow import configuration
from airflow.models.connection import Connection
from airflow.models.dag import clear_team_name_cache
from airflow.models.dagbundle import DagBundleModel
from airflow.models.team import Team
from sqlalchemy import update
from sqlalchemy.orm import Session

from airflow_approvals.control import registration
from airflow_approvals.control.pins import Pins
from airflow_approvals.errors import UnavailableError
from airflow_approvals.seams import airflow_seams
from airflow_approvals.seams.airflow_seams_connections import team_of
from tests.control.airflow_database import BUNDLE
from tests.control.airflow_scene import DAG_ID, SECRET, Airflow, Run


@pytest.fixture
def run(airflow: Airflow) -> Run:
    return airflow.a_run()


def test_a_connection_is_known_by_seven_parts_and_undefined_by_none(airflow: Airflow) -> None:
    parts = airflow_seams.connection_parts("sink_a")
    assert parts == ("generic", "sink.invalid", "", "", "", SECRET, "")
    assert airflow_seams.connection_parts("nowhere") is None


class Unreachable:
    """A secrets backend whose server does not answer."""

    def get_connection(self, conn_id: str) -> Any:
        raise ConnectionError("vault.invalid")


def test_a_backend_that_cannot_be_asked_is_not_one_that_knows_nothing(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    backends = [Unreachable(), *configuration.ensure_secrets_loaded()]
    monkeypatch.setattr(configuration, "ensure_secrets_loaded", lambda: backends)
    assert airflow_seams.connection_parts("sink_a") is not None, "another one has it"
    with pytest.raises(UnavailableError, match=r"Unreachable.*nowhere.*try again"):
        airflow_seams.connection_parts("nowhere")


def test_the_clears_of_a_run_are_counted(airflow: Airflow) -> None:
    run = airflow.a_run()
    assert airflow.look(lambda s: airflow_seams.clear_number(s, run.dag_id, run.run_id)) == 0
    run.change("aside", state="success")
    run.clear("aside")
    assert airflow.look(lambda s: airflow_seams.clear_number(s, run.dag_id, run.run_id)) == 1
    assert airflow.look(lambda s: airflow_seams.clear_number(s, run.dag_id, "nowhere")) == 0


@pytest.mark.parametrize(
    "change",
    [{"host": "b"}, {"port": 1}, {"schema": "b"}, {"login": "b"}, {"password": "b"}, {"extra": '{"b": 1}'},
     {"conn_type": "http"}],
)  # fmt: skip
def test_every_part_of_a_connection_is_seen(airflow: Airflow, change: dict[str, Any]) -> None:
    airflow.add_connection("other", **change)
    airflow.add_connection("same")
    assert airflow_seams.connection_parts("other") != airflow_seams.connection_parts("same")
    assert airflow_seams.connection_parts("sink_a") == airflow_seams.connection_parts("same")


@pytest.fixture(autouse=True)
def _no_team_is_remembered() -> Iterator[None]:
    """Airflow remembers a DAG's team for a while, and other tests ask for it too."""
    clear_team_name_cache()
    yield
    clear_team_name_cache()


def give_to_team(airflow: Airflow, team: str) -> None:
    """Let a team own the bundle of the tests' DAGs."""

    def work(session: Session) -> None:
        bundle = session.get_one(DagBundleModel, BUNDLE)
        bundle.teams = [Team(name=team)]

    airflow.do(work)


def test_a_team_is_given_its_own_connections_and_everybodys(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_to_team(airflow, "red")
    assert airflow.look(lambda s: team_of(s, DAG_ID)) is None, "one team only, as long as it is not asked for"
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
    assert airflow.look(lambda s: team_of(s, DAG_ID)) == "red"
    assert airflow.look(lambda s: team_of(s, "nowhere")) is None
    airflow.add_connection("reds", team_name="red")
    assert airflow_seams.connection_parts("reds", "red") is not None
    assert airflow_seams.connection_parts("reds", "blue") is None
    assert airflow_seams.connection_parts("sink_a", "red") is not None


def test_a_gate_pins_the_connection_of_its_team(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
    give_to_team(airflow, "red")
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
    owned = update(Connection).where(Connection.conn_id == "sink_a").values(team_name="red")
    airflow.do(lambda s: s.execute(owned))
    run = airflow.a_run()
    request_id = registration.register_now(run.park())
    assert request_id is not None
    assert Pins.from_text(run.request(request_id).pinned).fingerprint
