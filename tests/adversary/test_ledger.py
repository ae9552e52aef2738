"""The record itself under attack: in the database, by its owner, and by Airflow's own clean-up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from airflow_approvals.core.chain import ProblemKind
from airflow_approvals.store.ledger import verify_ledger
from airflow_approvals.store.tables import LedgerRow
from tests.adversary.by_hand import given
from tests.adversary.owners import as_owner, drop_triggers
from tests.adversary.world import Scene, World

pytestmark = pytest.mark.live


@pytest.mark.core
@pytest.mark.parametrize(
    "statement",
    ["UPDATE approvals_ledger SET kind = 'vote_cast'", "DELETE FROM approvals_ledger WHERE seq = 1"],
)
def test_changing_the_ledger(world: World, statement: str) -> None:
    """With the database's URL in hand, by SQL."""
    before = world.entries()
    with as_owner(world) as session, pytest.raises(DBAPIError, match="append-only"):
        session.connection().exec_driver_sql(statement)
    assert world.entries()[: len(before)] == before


@pytest.mark.core
def test_an_edit_by_the_owner_of_the_database(world: World) -> None:
    """An owner drops the triggers first; then the chain tells."""
    with as_owner(world) as session:
        drop_triggers(session)
        row = session.get_one(LedgerRow, 1)
        edited = {"body": row.body + b" "}
        session.execute(text("UPDATE approvals_ledger SET body = :body WHERE seq = 1"), edited)
        session.expire(row)
        report = verify_ledger(session)
    assert not report.ok
    assert (report.problems[0].seq, report.problems[0].kind) == (1, ProblemKind.EDIT)


@pytest.mark.core
@pytest.mark.scene("cleaned")
def test_airflow_db_clean(parked: Scene) -> None:
    """An administrator cleans the run away; the request and its entries stay, and verify."""
    request = parked.request()
    assert parked.world.vote(request["id"], "bob", "reject").status_code == 200
    assert parked.finish() == "failed"
    kept = parked.world.entries(run_id=parked.run_id)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    options = ["--clean-before-timestamp", tomorrow, "--dag-ids", "cleaned", "--skip-archive", "--yes"]
    for _ in range(3):
        cleaned, verified = given(
            parked.world.airflow, ["db", "clean", *options], ["approvals", "ledger", "verify"]
        )
        if "database is locked" not in cleaned:
            break
    assert parked.world.airflow.run_state("cleaned", parked.run_id) is None, cleaned
    assert parked.world.entries(run_id=parked.run_id)[: len(kept)] == kept
    assert "ledger verifies" in verified, verified
    stays = parked.world.as_user("alice").get(f"/approvals/api/v1/requests/{request['id']}")
    assert stays.json()["state"] == "rejected"
