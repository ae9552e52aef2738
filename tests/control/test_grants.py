"""The life of a grant, and the two rings that ask for it, on a real metadata database."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from airflow.models.connection import Connection
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control import grants, issuing, signing_key
from airflow_approvals.core.models import Channel, GrantState
from airflow_approvals.enforcement import overrides
from airflow_approvals.enforcement.override_calls import Override
from airflow_approvals.errors import ContractError
from airflow_approvals.seams import dag_graph
from airflow_approvals.store.tables import GrantRow
from tests.control.airflow_database import write_dag
from tests.control.airflow_scene import CAROL, POLICY, Airflow, Run, an_ask, open_sink, start, task_at, use


@pytest.fixture
def run(airflow: Airflow) -> Run:
    """A run whose gate was approved and has succeeded."""
    run = airflow.a_run()
    run.approve()
    run.finish("gate")
    return run


def refreshed(run: Run, *, after: timedelta = timedelta(0)) -> str:
    """The grant's state, once the server has looked."""

    def work(session: Session) -> str:
        row = session.get_one(GrantRow, run.grant().id)
        ti = task_at(session, run.place("use"))
        grants.refresh(session, row, dag_graph.load_dag(session, ti), ti, now=run.airflow.now + after)
        return row.state

    return run.airflow.do(work)


def ended_because(run: Run) -> str:
    return run.grant().ended_because or ""


# -- a life without trouble ----------------------------------------------------------------


def test_a_grant_is_live_then_bound_then_spent(run: Run) -> None:
    assert run.grant().state == "live"
    use(run)
    assert run.grant().state == "bound"
    run.finish("use")
    assert refreshed(run) == "spent"
    kinds = run.airflow.kinds(run)
    assert kinds[-3:] == ["grant_bound", "credential_handed_out", "grant_spent"]


def test_a_skipped_release_spends_the_grant_too(run: Run) -> None:
    use(run)
    run.finish("use", "skipped")
    assert refreshed(run) == "spent"


def test_every_hand_out_is_counted(run: Run) -> None:
    use(run)
    assert open_sink(run) is None
    handed = run.airflow.entries(kind="credential_handed_out", run_id=run.run_id)
    assert [entry["details"]["hand_out"] for entry in handed] == [1, 2]


def test_what_follows_a_spent_grant_may_still_start(run: Run) -> None:
    use(run)
    run.finish("use")
    assert refreshed(run) == "spent"
    assert start(run, "between") is None


def test_what_follows_an_expired_grant_may_still_start_and_gets_no_credential(run: Run) -> None:
    late = run.grant().not_after - run.airflow.now
    assert start(run, after=late) is None
    assert run.grant().state == "expired"
    assert open_sink(run, after=late) is not None


def test_the_claims_are_signed_as_they_are_stored(run: Run) -> None:
    row = run.grant()
    key = signing_key.load()
    assert key.verify(row.jws) == json.loads(row.claims)
    header, _, signature = row.jws.split(".")
    forged = json.dumps({**json.loads(row.claims), "sink": "elsewhere"}).encode()
    import base64

    payload = base64.urlsafe_b64encode(forged).rstrip(b"=").decode()
    with pytest.raises(ContractError):
        key.verify(f"{header}.{payload}.{signature}")


# -- ends ----------------------------------------------------------------------------------


def test_a_grant_runs_out_at_its_moment(run: Run) -> None:
    assert start(run) is None
    grant = run.grant()
    over = grant.not_after - run.airflow.now
    lasts = grant.not_after - grant.issued_at
    assert timedelta(minutes=30) - timedelta(seconds=1) < lasts <= timedelta(minutes=30), "as the policy says"
    assert grant.not_after.timestamp() == json.loads(grant.claims)["not_after"], (
        "to the second that is signed"
    )
    assert open_sink(run, after=over - timedelta(seconds=1)) is None
    assert refreshed(run, after=over) == "expired"
    refusal = open_sink(run, after=over)
    assert refusal is not None
    assert "expired" in refusal.sentence


def test_a_redeployed_function_body_kills_the_grant(run: Run) -> None:
    assert start(run) is None
    before = run.grant().claims
    run.airflow.redeploy()
    refusal = open_sink(run)
    assert refusal is not None
    assert refusal.sentence.endswith("the approval is void; its source_hash is not what was approved.")
    assert run.grant().state == "killed"
    assert json.loads(before)["source_hash"]


def test_a_grant_from_before_sources_were_bound_opens_nothing(run: Run) -> None:
    assert start(run) is None

    def as_issued_before(session: Session) -> None:
        row = session.get_one(GrantRow, run.grant().id)
        document = {k: v for k, v in json.loads(row.claims).items() if k != "source_hash"} | {"version": 1}
        row.claims, row.jws = json.dumps(document), signing_key.load().sign(document)

    run.airflow.do(as_issued_before)
    assert "its source_hash is not what was approved" in open_sink(run).sentence


def test_a_release_that_failed_may_try_again_with_the_same_grant(run: Run) -> None:
    use(run)
    run.finish("use", "failed")
    run.clear("use")
    use(run)
    assert run.grant().state == "bound"
    run.finish("use")
    assert refreshed(run) == "spent"


def test_an_automatic_retry_of_the_release_keeps_the_grant(run: Run) -> None:
    use(run)
    run.retry("use")
    use(run)
    assert run.grant().state == "bound"


def test_a_release_cleared_after_its_success_is_refused(run: Run) -> None:
    use(run)
    run.finish("use")
    run.clear("use")
    refusal = start(run)
    assert refusal is not None
    assert run.grant().state == "killed"
    assert "cleared or marked after it had succeeded" in ended_because(run)


def test_a_release_that_succeeded_is_not_replayed_by_marking_it_failed_first(run: Run) -> None:
    """The history then never holds its success."""
    use(run)
    run.finish("use")
    assert refreshed(run) == "spent"
    run.finish("use", "failed")
    run.clear("use")
    refusal = start(run)
    assert refusal is not None
    assert "cleared or marked after it had succeeded" in refusal.sentence


def test_a_release_that_outlived_its_grant_and_was_cleared_after_its_success_is_refused(run: Run) -> None:
    use(run)
    over = run.grant().not_after - run.airflow.now
    assert refreshed(run, after=over) == "expired"
    run.finish("use")
    run.clear("use")
    assert start(run, after=over) is not None
    assert "cleared or marked after it had succeeded" in ended_because(run)


def test_clearing_between_gate_and_release_kills(run: Run) -> None:
    assert start(run, "between") is None
    run.finish("between")
    run.clear("between")
    assert start(run) is not None
    assert ended_because(run) == "task between was cleared after the approval"


def test_clearing_the_gate_kills_even_before_it_asks_again(run: Run) -> None:
    run.clear("gate")
    run.change("gate", state="success")
    assert start(run) is not None
    assert ended_because(run) == "task gate was cleared after the approval"


def test_clearing_beside_the_path_changes_nothing(run: Run) -> None:
    run.start("aside")
    run.finish("aside")
    run.clear("aside")
    use(run)


def change_policy(run: Run) -> None:
    run.airflow.activate(POLICY + "# another policy\n")


def change_host(run: Run) -> None:
    def work(session: Session) -> None:
        session.scalars(select(Connection).where(Connection.conn_id == "sink_a")).one().host = "b.invalid"

    run.airflow.do(work)


def change_password(run: Run) -> None:
    def work(session: Session) -> None:
        found = session.scalars(select(Connection).where(Connection.conn_id == "sink_a")).one()
        found.set_password("another")

    run.airflow.do(work)


def delete_connection(run: Run) -> None:
    run.airflow.do(
        lambda s: s.delete(s.scalars(select(Connection).where(Connection.conn_id == "sink_a")).one())
    )


def change_code(run: Run) -> None:
    with DAG("gated", schedule=None) as dag:
        EmptyOperator(task_id="use")

    def work(session: Session) -> None:
        from airflow.models.dag_version import DagVersion

        write_dag(session, dag)
        newest = DagVersion.get_latest_version("gated", session=session)
        task_at(session, run.place("use")).dag_version_id = newest.id

    run.airflow.do(work)


def forge_claims(run: Run) -> None:
    """What somebody with write access to the database, but without the key, could do."""

    def work(session: Session) -> None:
        row = session.get_one(GrantRow, run.grant().id)
        claims = json.loads(row.claims)
        claims["not_after"] = claims["exp"] = claims["exp"] + 86_400
        row.claims = json.dumps(claims, sort_keys=True)

    run.airflow.do(work)


@pytest.mark.parametrize(
    ("change", "lapse"),
    [
        (change_policy, "policy"),
        (change_host, "fingerprint"),
        (change_password, "fingerprint"),
        (delete_connection, "fingerprint"),
        (forge_claims, "signature"),
    ],
)
def test_what_no_longer_is_as_it_was_approved_kills_the_grant(run: Run, change: Any, lapse: str) -> None:
    assert start(run) is None
    change(run)
    refusal = open_sink(run)
    assert refusal is not None
    assert lapse in refusal.sentence
    assert run.grant().state == "killed"
    (entry,) = run.airflow.entries(kind="grant_killed", run_id=run.run_id)
    assert lapse in entry["details"]["because"]


def test_a_release_that_runs_by_other_code_gets_nothing(run: Run) -> None:
    assert start(run) is None
    change_code(run)
    refusal = open_sink(run)
    assert refusal is not None
    assert refusal.status == 403
    assert "credential_handed_out" not in run.airflow.kinds(run)


def test_a_grant_signed_by_a_key_that_was_replaced_is_void(run: Run) -> None:
    assert start(run) is None
    run.airflow.add_key("other.pem")
    refusal = open_sink(run)
    assert refusal is not None
    assert "signature" in refusal.sentence
    assert run.grant().state == "killed"
    assert "credential_handed_out" not in run.airflow.kinds(run)


def test_a_killed_grant_stays_killed(run: Run) -> None:
    def kill(session: Session) -> None:
        row = session.get_one(GrantRow, run.grant().id)
        grants.end(session, row, GrantState.KILLED, "recalled", now=run.airflow.now)

    run.airflow.do(kill)
    assert refreshed(run) == "killed"
    refusal = start(run)
    assert refusal is not None
    assert "recalled" in refusal.sentence


def test_reference_tells_the_release_where_the_grant_is_good_for(run: Run) -> None:
    reference = issuing.reference(run.grant(), "file:///srv/sink")
    assert reference["manifest_digest"] == an_ask().data.digest
    assert (reference["sink"], reference["connection"]) == ("sink-a", "sink_a")
    assert reference["uri_prefix"] == "file:///srv/sink"
    assert reference["not_after"] == int(run.grant().not_after.timestamp())


@pytest.mark.parametrize("task_id", ["gate", "between", "use"])
def test_a_delete_on_the_way_kills_the_grant(run: Run, task_id: str) -> None:
    overrides.keep(Override("delete", run.dag_id, run.run_id, task_id, -1), CAROL, Channel.UI, None, None)
    grant = run.grant()
    assert grant is not None
    assert (grant.state, grant.ended_because) == ("killed", f"task {task_id} was deleted")


@pytest.mark.parametrize("end", ["spent", "expired"])
def test_a_deleted_run_leaves_nothing_open_to_one_that_takes_its_id(run: Run, end: str) -> None:
    use(run)
    if end == "spent":
        run.finish("use")
    assert refreshed(run, after=run.grant().not_after - run.airflow.now) == end
    whole = overrides.Override("delete", run.dag_id, run.run_id, "", -1)
    overrides.keep(whole, CAROL, Channel.UI, None, None)
    assert run.grant().state == "killed"


def test_a_delete_beside_the_way_changes_nothing(run: Run) -> None:
    bulk = {"actions": [{"action": "delete", "entities": [{"task_id": "aside", "map_index": -1}]}]}
    answer = {"delete": {"success": [f"{run.dag_id}.{run.run_id}.aside[-1]"], "errors": []}}
    overrides.keep(Override("mark", run.dag_id, run.run_id, None, -1), CAROL, Channel.UI, bulk, answer)
    grant = run.grant()
    assert grant is not None
    assert grant.state == "live"
    assert [e["details"]["act"] for e in run.airflow.entries(kind="run_overridden")] == ["delete"]


def test_the_resume_of_a_gate_that_was_mapped_later_does_not_pass_for_a_clear(run: Run) -> None:
    grant = run.grant()
    assert grant is not None
    recorded = [*json.loads(grant.path_tries), ["mapped_gate", -1, 2]]
    run.airflow.do(lambda s: setattr(s.get_one(GrantRow, grant.id), "path_tries", json.dumps(recorded)))
    run.airflow.do(lambda s: grants.count_resume(s, run.place("mapped_gate", 0)))
    tries = {(task, index): count for task, index, count in json.loads(run.grant().path_tries)}
    assert (tries["mapped_gate", 0], tries["mapped_gate", -1]) == (3, 2)
