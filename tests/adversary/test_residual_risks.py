"""What remains, at work: each of these gets around a gate, or out of its record.

They stand in docs/security.md with what closes them; where the doctor can see one, it has to name it.

Nothing is claimed, and so nothing is shown, about people and machines that are trusted: two approvers
who agree between them, or one person with two accounts that nobody has linked; the owner of the API
server's machine, of a plugin in it or of the signing key, who *is* the server.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from airflow_approvals.core.chain import GENESIS, entry_hash, leaf_hash
from airflow_approvals.core.digest import canonical_bytes
from airflow_approvals.store.ledger import verify_ledger
from airflow_approvals.store.tables import LedgerRow
from tests.adversary.insider import Insider
from tests.adversary.owners import as_owner, drop_triggers, patient_engine
from tests.adversary.sinks import PASSWORD
from tests.adversary.world import Scene, World

pytestmark = pytest.mark.live


# -- what stands where tasks run -----------------------------------------------------------------


@pytest.fixture(scope="module")
def findings_on_the_host(world: World) -> set[str]:
    """What the doctor finds where the worker knows too much."""
    return world.hosts["careless"].doctor()


@pytest.mark.scene("careless_host")
def test_a_connection_in_the_workers_environment(scene: Scene, findings_on_the_host: set[str]) -> None:
    scene.world.meant.add(scene.run_id)
    assert scene.finish() == "success"
    assert scene.calls() == ["use"]
    assert scene.world.entries(run_id=scene.run_id) == [], "nobody was asked, and nothing is on record"
    assert "connection_in_reach" in findings_on_the_host


@pytest.mark.scene("waiting", shared="stolen-token")
def test_the_jwt_secret_where_tasks_run(parked: Scene, findings_on_the_host: set[str]) -> None:
    """Whoever reads it speaks as any task that runs, here as one behind an open gate."""
    parked.world.meant.add(parked.run_id)
    parked.approve()
    parked.until_state("hold", "running")
    secret = parked.world.hosts["careless"].environment["AIRFLOW__API_AUTH__JWT_SECRET"]
    thief = Insider(parked.world.airflow.url(), secret, parked.insider().ti_id)
    password = thief.connection().raise_for_status().json()["password"]
    assert release(parked, password).status_code == 200
    assert parked.calls() == ["by-hand"]
    parked.let_go()
    (entry,) = parked.entries("credential_handed_out")
    assert entry["task_id"] == "hold", "the record names the task, not the thief"
    assert "task_reads_jwt_secret" in findings_on_the_host


def release(scene: Scene, password: str) -> httpx.Response:
    url = f"http://127.0.0.1:{scene.world.sinks[0].port}/{scene.run_id.replace('/', '%2F')}/by-hand"
    return httpx.post(url, headers={"X-Password": password}, trust_env=False, timeout=120)


def test_the_database_url_where_tasks_run(
    world: World, findings_on_the_host: set[str], shell: dict[str, str]
) -> None:
    """Under another id the same Connection is protected by nothing, and the server decrypts it."""
    columns = "conn_type, host, port, password, is_encrypted, is_extra_encrypted"
    copy = f"INSERT INTO connection (conn_id, {columns}) SELECT 'sink_copy', {columns}"
    with changed(world, f"{copy} FROM connection WHERE conn_id = 'sink_a'"):
        run = world.new("no_gate", "rita", connection="sink_copy")
        world.meant.add(run.run_id)
        assert run.finish() == "success"
    assert run.calls() == ["use"]
    assert "task_reads_sql_alchemy_conn" in findings_on_the_host
    assert '"local_executor"' in shell["doctor"]


@contextmanager
def changed(world: World, statement: str) -> Iterator[None]:
    engine = patient_engine(world.airflow.database_url)
    try:
        with engine.begin() as connection:
            connection.execute(text(statement))
        yield
    finally:
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM connection WHERE conn_id = 'sink_copy'"))
        engine.dispose()


def test_a_shell_on_the_server(shell: dict[str, str]) -> None:
    assert PASSWORD in shell["connections get"]


# -- what an approved task may do ----------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(world: World) -> Scene:
    """An approved run whose task sends what it likes and keeps the password."""
    run = world.new("keeper", "rita")
    world.meant.add(run.run_id)
    run.approve()
    assert run.finish() == "success"
    return run


def test_a_run_bound_task_sends_something_else(world: World, kept: Scene) -> None:
    """Run-bound means that this task may have the credential; content-bound sinks are the answer."""
    assert world.sinks[0].bodies[kept.run_id, "use"] == b"lines that nobody has approved\n"
    assert kept.request()["ask"]["manifest"]["objects"][0]["uri"] == "lines.txt"


def test_a_run_bound_task_keeps_the_credential(world: World, kept: Scene) -> None:
    kept.until_entry("grant_spent")
    assert release(kept, (world.home / "room" / "kept-password").read_text()).status_code == 200
    assert kept.calls() == ["use", "by-hand"]
    assert len(kept.entries("credential_handed_out")) == 1, "the second release is on no record"


@pytest.mark.scene("edited_module")
def test_a_module_is_edited_during_the_wait(parked: Scene) -> None:
    """The server knows a DAG's own file; what it imports from a bundle without versions it does not."""
    parked.world.meant.add(parked.run_id)
    module = parked.world.home / "dags" / "sending.py"
    module.write_text(module.read_text().replace("quote(which, safe='')", "quote('edited', safe='')"))
    parked.approve()
    assert parked.finish() == "success"
    assert parked.calls() == ["edited"]


def test_a_sink_without_a_protected_connection(world: World) -> None:
    """The same place under an id that no policy names."""
    sink = {"conn_type": "generic", "host": "127.0.0.1", "port": world.sinks[0].port, "password": PASSWORD}
    made = world.as_user("adam").post("/api/v2/connections", json={"connection_id": "sink_open", **sink})
    assert made.status_code == 201, made.text
    run = world.new("unguarded", "rita")
    world.meant.add(run.run_id)
    assert run.finish() == "success"
    assert run.calls() == ["use"]
    assert world.entries(run_id=run.run_id) == []


# -- people and their accounts -------------------------------------------------------------------


@pytest.mark.scene("plain", action="by-role")
def test_a_role_that_fills_a_seat(parked: Scene, shell: dict[str, str]) -> None:
    """Whoever has the role may vote; who can give it decides who may. The lint says so of FAB's roles."""
    parked.world.meant.add(parked.run_id)
    assert parked.world.vote(parked.request()["id"], "bob").status_code == 403
    parked.approve("olga")
    assert parked.finish() == "success"
    assert parked.calls() == ["use"]
    assert "operators" in shell["policy lint"]
    assert "administrator" in shell["policy lint"]


@pytest.mark.scene("plain", action="page")
def test_a_program_with_a_persons_token(parked: Scene) -> None:
    """A bearer token may not decide here; the same token as a cookie, with a browser's headers, does."""
    parked.world.meant.add(parked.run_id)
    request_id = parked.request()["id"]
    assert parked.world.vote(request_id, "bob").status_code == 403
    headers = {"X-Approvals-Request": "1", "Origin": parked.world.airflow.url()}
    with parked.world.airflow.browser_session("bob") as program:
        path = f"/approvals/api/v1/requests/{request_id}/votes"
        assert program.post(path, json={"verdict": "approve"}, headers=headers).status_code == 200
    assert parked.finish() == "success"
    assert parked.calls() == ["use"]
    assert parked.entries("vote_cast")[0]["channel"] == "ui", "the record says that a person clicked"


# -- the record ----------------------------------------------------------------------------------


def test_a_ledger_rewritten_to_the_end(world: World) -> None:
    """An owner of the database who rewrites every entry and the head leaves a chain that verifies."""
    with as_owner(world) as session:
        drop_triggers(session)
        size = rewrite(session, actor="nobody")
        report = verify_ledger(session)
    assert report.ok, report.problems
    assert report.size == size > 0


def rewrite(session: Session, *, actor: str) -> int:
    """Let somebody else have done everything."""
    previous, size = GENESIS, 0
    for seq, body in session.execute(select(LedgerRow.seq, LedgerRow.body).order_by(LedgerRow.seq)).all():
        told = canonical_bytes({**json.loads(body), "actor": actor, "prev": previous})
        leaf = leaf_hash(told)
        previous, size = entry_hash(previous, leaf), seq
        session.execute(
            text("UPDATE approvals_ledger SET body = :b, leaf_hash = :l, entry_hash = :e WHERE seq = :s"),
            {"b": told, "l": leaf, "e": previous, "s": seq},
        )
    session.execute(text("UPDATE approvals_ledger_head SET entry_hash = :e"), {"e": previous})
    return size
