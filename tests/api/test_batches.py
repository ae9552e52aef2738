"""One decision for a list of requests, and what stands, over the API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.models.backfill import Backfill
from airflow.models.dagrun import DagRun
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.core.bar import Standing
from airflow_approvals.store.tables import RequestRow
from tests.api.conftest import Signed
from tests.control.airflow_scene import Airflow, Run, an_ask
from tests.control.test_standing import a_run, ask_now, classified

DECISIONS, STANDING = "/api/v1/decisions", "/api/v1/standing"


def shown(request: RequestRow, **changes: str) -> dict[str, str]:
    return {
        "id": request.id,
        "manifest_digest": request.manifest_digest,
        "ask_digest": request.ask_digest,
    } | changes


def test_each_is_decided_by_itself(airflow: Airflow, signed: Signed) -> None:
    runs = [airflow.a_run(), airflow.a_run(), airflow.a_run(user="bob"), airflow.a_run()]
    good, misread, own, closed = (run.ask() for run in runs)
    runs[3].vote(closed)
    listed = [
        shown(good),
        shown(misread, ask_digest=good.manifest_digest),
        shown(own),
        shown(closed),
        shown(good, id="nope"),
    ]
    body = {"verdict": "approve", "reason": "looked at each", "requests": listed}
    answer = signed("bob").post(DECISIONS, json=body)
    assert answer.status_code == 200
    results = [(one["state"], one["code"]) for one in answer.json()]
    assert results == [
        ("approved", None),
        (None, "digest_mismatch"),
        (None, "self_approval"),
        (None, "already_closed"),
        (None, "unknown_request"),
    ]
    assert runs[1].request(misread.id).state == "pending"
    assert runs[1].votes(misread) == []


def test_a_list_has_each_once_and_is_short(airflow: Airflow, signed: Signed) -> None:
    request = airflow.a_run().ask()
    bob = signed("bob")
    lists: list[list[dict[str, Any]]] = [
        [],
        [shown(request)] * 2,
        [shown(request, id=str(n)) for n in range(101)],
    ]
    for listed in lists:
        answer = bob.post(DECISIONS, json={"verdict": "approve", "requests": listed})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert airflow.look(lambda s: s.get_one(RequestRow, request.id)).state == "pending"


def test_a_viewer_decides_none_and_is_entered(airflow: Airflow, signed: Signed) -> None:
    run = airflow.a_run()
    body = {"verdict": "approve", "requests": [shown(run.ask())]}
    assert signed("eve", role="viewer").post(DECISIONS, json=body).json()[0]["code"] == "not_permitted"
    (entry,) = airflow.entries(kind="vote_refused", run_id=run.run_id)
    assert (entry["actor"], entry["details"]["code"]) == ("eve", "not_permitted")


def test_what_a_backfill_waits_for_is_listed_with_every_digest(airflow: Airflow, signed: Signed) -> None:
    runs = [airflow.a_run() for _ in range(3)]
    requests = [run.ask(an_ask(reason=run.run_id)) for run in runs]
    backfill_id = airflow.do(lambda s: _backfill(s, runs[:2], airflow))
    bob = signed("bob")
    listed = bob.get(DECISIONS, params={"dag_id": "gated", "backfill_id": backfill_id}).json()
    assert {one["id"]: one["ask_digest"] for one in listed} == {
        request.id: request.ask_digest for request in requests[:2]
    }
    body = {"verdict": "approve", "requests": [{k: one[k] for k in shown(requests[0])} for one in listed]}
    assert [one["state"] for one in bob.post(DECISIONS, json=body).json()] == ["approved", "approved"]
    assert bob.get(DECISIONS, params={"dag_id": "gated", "backfill_id": backfill_id}).json() == []
    assert (
        bob.get(DECISIONS, params={"dag_id": "gated", "run_id": runs[2].run_id}).json()[0]["id"]
        == requests[2].id
    )
    assert bob.get(DECISIONS, params={"dag_id": "gated"}).status_code == 422


def _backfill(session: Session, runs: list[Run], airflow: Airflow) -> int:
    row = Backfill(dag_id="gated", from_date=airflow.now, to_date=airflow.now, dag_run_conf={})
    session.add(row)
    session.flush()
    for run in session.scalars(select(DagRun).where(DagRun.run_id.in_([run.run_id for run in runs]))):
        run.backfill_id = row.id
    return row.id


def test_a_standing_approval_is_given_listed_and_ended(airflow: Airflow, signed: Signed) -> None:
    airflow.activate_bar(standing=Standing(3, timedelta(days=1)))
    request = ask_now(a_run(airflow), classified())
    bob = signed("bob")
    votes = f"/api/v1/requests/{request.id}/votes"
    assert bob.get(f"/api/v1/requests/{request.id}").json()["standing"] == {
        "uses": 3,
        "within_seconds": 86400,
    }
    wish = {"uses": 4, "within_seconds": 60}
    assert bob.post(votes, json={"verdict": "approve", "standing": wish}).json()["code"] == "standing_too_far"
    assert bob.post(votes, json={"verdict": "approve", "standing": False}).status_code == 422
    assert bob.post(votes, json={"verdict": "approve", "standing": True}).json()["state"] == "approved"
    (one,) = bob.get(STANDING).json()
    assert (one["uses"], one["used"], one["request_id"]) == (3, 0, request.id)
    address = f"{STANDING}/{one['id']}"
    assert signed("dave").delete(address).json()["code"] == "not_eligible"
    assert signed("carol").delete(address).json()["ended_because"] == "ended by carol"
    assert bob.delete(address).json()["code"] == "already_ended"
    assert bob.get(STANDING).json() == []
    assert bob.delete(f"{STANDING}/nope").status_code == 404
