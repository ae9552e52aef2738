"""Asking through the API: a run with the caller as its requester, once per key."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.models.dagrun import DagRun
from sqlalchemy import select

from tests.api.conftest import Signed
from tests.control.airflow_scene import Airflow

ASK = "/api/v1/requests"
KEY = {"Idempotency-Key": "key 1"}


def runs(airflow: Airflow, run_id: str) -> list[DagRun]:
    return airflow.look(lambda s: list(s.scalars(select(DagRun).where(DagRun.run_id == run_id))))


@pytest.mark.parametrize("engine", ["airflow", "postgres_airflow"])
def test_the_caller_starts_the_run_and_the_same_key_starts_no_other(
    engine: str, request: pytest.FixtureRequest, signed: Signed
) -> None:
    airflow: Airflow = request.getfixturevalue(engine)
    agent = signed("agent")
    body: dict[str, Any] = {"dag_id": "gated", "conf": {"ticket": "CHG-1"}}
    first, second = (agent.post(ASK, json=body, headers=KEY) for _ in range(2))
    assert (first.status_code, first.json()["again"], second.json()["again"]) == (202, False, True)
    run_id = first.json()["run_id"]
    assert second.json()["run_id"] == run_id
    assert first.json()["requests"].endswith(f"dag_id=gated&run_id={run_id}")
    (run,) = runs(airflow, run_id)
    assert (run.triggering_user_name, run.conf, run.state) == ("agent", {"ticket": "CHG-1"}, "queued")
    entries = airflow.entries(kind="request_asked_for", run_id=run_id)
    assert [(entry["actor"], entry["channel"]) for entry in entries] == [("agent", "api")]
    assert "CHG-1" not in str(entries)
    other = agent.post(ASK, json={**body, "conf": {}}, headers=KEY)
    assert (other.status_code, other.json()["code"]) == (409, "key_reused")
    assert signed("bob").post(ASK, json=body, headers=KEY).json()["run_id"] != run_id


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        ({"dag_id": "ungated"}, KEY, (409, "no_gate")),
        ({"dag_id": "nowhere"}, KEY, (409, "cannot_start")),
        ({"dag_id": "gated"}, {}, (422, "invalid")),
        ({"dag_id": "gated", "as": "bob"}, KEY, (422, "invalid")),
        ({"dag_id": "gated", "conf": {"a": "x" * 70_000}}, KEY, (422, "invalid")),
    ],
)
def test_what_cannot_ask_is_refused(
    airflow: Airflow, signed: Signed, body: Any, headers: Any, expected: tuple[int, str]
) -> None:
    answer = signed("agent").post(ASK, json=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == expected


def test_who_may_not_trigger_the_dag_may_not_ask(airflow: Airflow, signed: Signed) -> None:
    answer = signed("eve", role="viewer").post(ASK, json={"dag_id": "gated"}, headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")
    assert airflow.entries(kind="request_asked_for") == []
