"""Who started or shaped a run, from everything that knows."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from airflow.models.backfill import Backfill
from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.log import Log
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import select
from sqlalchemy.orm import Session

from airflow_approvals.control import requesters
from airflow_approvals.control.requesters import Requesters, requesters_of
from airflow_approvals.core.models import Person
from airflow_approvals.enforcement import parents
from airflow_approvals.seams import airflow_seams_people as people
from airflow_approvals.store.tables import ActorRow
from tests.control.airflow_scene import ALICE, CAROL, DAVE, POLICY, Airflow, Run, task_at
from tests.seams.test_airflow_seams_people import asset_id, feed, log


def of(run: Run) -> Requesters:
    return run.airflow.look(lambda s: requesters_of(s, run.place()))


def shape(run: Run, person: Person, act: str, task_id: str = "gate", run_id: str | None = None) -> None:
    row = ActorRow(
        dag_id=run.dag_id,
        run_id=run.run_id if run_id is None else run_id,
        task_id=task_id,
        map_index=-1,
        person_id=person.id,
        person_name=person.name,
        act=act,
        at=max(run.airflow.now, datetime.now(UTC)) if act == "unpause" else run.airflow.now,
    )
    run.airflow.do(lambda s: s.add(row))


def test_whoever_triggered_the_run_is_in_the_set(airflow: Airflow) -> None:
    found = of(airflow.a_run(user="alice"))
    assert found.members == (("alice", "triggered the run"),)
    assert not found.unattributed


def test_a_run_that_nobody_triggered_is_unattributed(airflow: Airflow) -> None:
    found = of(airflow.a_run(user=None))
    assert found.unattributed
    assert found.names == frozenset()


@pytest.mark.parametrize("act", ["clear", "mark", "delete"])
def test_whoever_shaped_the_run_is_in_the_set_by_id_and_by_name(airflow: Airflow, act: str) -> None:
    run = airflow.a_run(user=None)
    shape(run, Person("4711", "mallory"), act, task_id="")
    found = of(run)
    assert found.names == {"4711", "mallory"}
    assert found.unattributed, "who shaped the run has not owned up to having started it"


def test_an_act_whose_runs_could_not_be_told_counts_for_runs_it_may_have_shaped(airflow: Airflow) -> None:
    run, elsewhere = airflow.a_run(), airflow.a_run("ungated")
    shape(run, CAROL, "clear", task_id="", run_id="")
    airflow.do(lambda s: setattr(_run_row(s, run), "run_after", airflow.now - timedelta(seconds=1)))
    assert of(run).names == {"alice", "carol"}
    airflow.do(lambda s: setattr(_run_row(s, run), "run_after", airflow.now + timedelta(seconds=1)))
    assert of(run).names == {"alice"}, "it came after that act"
    assert of(elsewhere).names == {"alice"}


@pytest.mark.parametrize("by_call", [True, False])
def test_whoever_backfilled_the_run_by_call_has_triggered_it(airflow: Airflow, by_call: bool) -> None:
    """A command line leaves any name with the backfill, and no such call in Airflow's log."""
    run = airflow.a_run(user=None)

    def backfill(session: Session) -> None:
        row = Backfill(
            dag_id=run.dag_id, from_date=airflow.now, to_date=airflow.now, dag_run_conf={},
            triggering_user_name="dave",
        )  # fmt: skip
        session.add(row)
        session.flush()
        _run_row(session, run).backfill_id = row.id

    if by_call:
        log(airflow, "create_backfill", "dave")
    airflow.do(backfill)
    found = of(run)
    assert found.names == {"dave"}
    assert found.unattributed is not by_call


def by_command(run: Run) -> None:
    """Let the run be one that ``airflow dags trigger`` made."""
    cli = DagRunTriggeredByType.CLI
    run.airflow.do(lambda s: setattr(_run_row(s, run), "triggered_by", cli))


def test_a_name_that_a_command_gave_owns_up_to_nothing_and_is_barred_all_the_same(airflow: Airflow) -> None:
    run = airflow.a_run(user="bob")
    by_command(run)
    found = of(run)
    assert found.members == (("bob", requesters.BY_COMMAND),)
    assert found.unattributed


def _run_row(session: Session, run: Run) -> DagRun:
    return session.scalars(select(DagRun).where(DagRun.run_id == run.run_id)).one()


def test_acts_on_another_run_do_not_count(airflow: Airflow) -> None:
    run, other = airflow.a_run(), airflow.a_run(user="dave")
    shape(run, CAROL, "clear", run_id=other.run_id)
    assert of(run).names == {"alice"}
    assert of(other).names == {"dave", "carol"}


def test_airflows_own_log_names_clearers_that_did_not_pass_our_server(airflow: Airflow) -> None:
    run = airflow.a_run()
    row = Log(event="clear_dag_run", owner="dave", dag_id=run.dag_id, run_id=run.run_id)
    airflow.do(lambda s: s.add(row))
    assert of(run).names == {"alice", "dave"}


def test_who_once_shaped_the_run_stays_in_the_set(airflow: Airflow) -> None:
    run = airflow.a_run()
    before = Requesters((("dave", "marked tasks of the run"),))
    both = of(run).union(before)
    assert both.names == {"alice", "dave"}
    assert both.members == before.union(of(run)).members


def test_the_stored_text_says_the_same(airflow: Airflow) -> None:
    run = airflow.a_run()
    shape(run, DAVE, "mark")
    found = of(run)
    assert Requesters.from_text(found.to_text()) == found
    assert Requesters.from_text('[["dave", "marked tasks of the run"]]').names == {"dave"}, "as stored before"
    assert json.loads(Requesters((), ("unknown",)).to_text()) == {"members": [], "notes": ["unknown"]}


def test_whoever_shaped_a_run_that_fed_this_one_has_shaped_it_however_far_back(airflow: Airflow) -> None:
    run, fed_by, far_back = (airflow.a_run(user=None) for _ in range(3))
    feed(run, fed_by)
    feed(fed_by, far_back)
    shape(far_back, CAROL, "clear")
    shape(fed_by, DAVE, "mark")
    found = of(run)
    assert found.names == {"carol", "dave"}
    assert ("carol", "cleared tasks of the run, in gated whose data started this run") in found.members
    assert found.unattributed, "none of them started this very run"


def test_runs_that_feed_each_other_in_a_circle_are_each_looked_at_once(airflow: Airflow) -> None:
    run, other = airflow.a_run(user="alice"), airflow.a_run(user="dave")
    feed(run, other)
    feed(other, run)
    assert of(run).names == {"alice", "dave"}
    assert not of(run).unattributed


def test_a_run_fed_by_more_runs_than_are_looked_at_is_unattributed_and_says_so(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requesters, "MOST_FOLLOWED", 2)
    run = airflow.a_run()
    feed(run, airflow.a_run(), airflow.a_run())
    assert not of(run).unattributed
    feed(run, airflow.a_run())
    found = of(run)
    assert found.unattributed
    assert found.notes == (requesters.TOO_MANY,)


def test_whoever_made_the_asset_event_by_call_is_in_the_set_of_a_run_nobody_triggered(
    airflow: Airflow,
) -> None:
    feed(airflow.a_run(), None)
    log(airflow, "create_asset_event", "bob", extra=json.dumps({"asset_id": asset_id(airflow)}))
    run = airflow.a_run(user=None)
    feed(run, None)
    found = of(run)
    assert found.members == (("bob", "made an asset event that started the run"),)
    assert found.unattributed


def test_very_many_events_of_tasks_hide_no_event_made_by_call(airflow: Airflow) -> None:
    run, fed_by, shaped = (airflow.a_run(user=None) for _ in range(3))
    feed(airflow.a_run(), None)
    log(airflow, "create_asset_event", "bob", extra=json.dumps({"asset_id": asset_id(airflow)}))
    feed(run, None, shaped)
    feed(run, *[fed_by] * (people.MOST_EVENTS + 1))
    shape(shaped, CAROL, "clear")
    found = of(run)
    assert found.names == {"bob", "carol"}
    assert found.notes == ()


def test_more_events_made_by_call_than_are_looked_at_leave_the_run_unattributed(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "MOST_EVENTS", 2)
    run = airflow.a_run(user="alice")
    feed(run, None, None)
    assert not of(run).unattributed
    feed(run, None)
    found = of(run)
    assert found.unattributed
    assert found.notes == (requesters.TOO_MANY_EVENTS,)


def test_whoever_unpaused_the_dag_since_its_last_run_is_in_the_set(airflow: Airflow) -> None:
    earlier = airflow.a_run(user=None)
    log(airflow, "patch_dag", "bob", dag_id=earlier.dag_id, extra=json.dumps({"is_paused": False}))
    shape(earlier, Person("4711", "carol"), "unpause", task_id="", run_id="")
    airflow.now = datetime.now(UTC)
    run = airflow.a_run(user=None)
    assert of(run).names == {"bob", "4711", "carol"}
    assert ("bob", requesters.UNPAUSED) in of(run).members
    assert of(run).unattributed
    assert of(airflow.a_run(user=None)).names == frozenset(), "there has been a run since"


def automatic(run: Run, *, due: datetime | None = None) -> Run:
    """Let the run be one that the scheduler made, due at that moment."""

    def work(session: Session) -> None:
        row = _run_row(session, run)
        row.run_type = DagRunType.SCHEDULED
        row.run_after = due or row.run_after

    run.airflow.do(work)
    return run


def test_every_run_that_a_dag_catches_up_with_has_who_unpaused_it(airflow: Airflow) -> None:
    automatic(airflow.a_run(user=None))
    due = datetime.now(UTC) - timedelta(minutes=1)
    log(airflow, "patch_dag", "bob", dag_id="gated", extra=json.dumps({"is_paused": False}))
    shape(Run(airflow, "gated", ""), CAROL, "unpause", task_id="", run_id="")
    airflow.now = datetime.now(UTC)
    for _ in range(3):
        assert of(automatic(airflow.a_run(user=None), due=due)).names == {"bob", "carol"}
    assert of(automatic(airflow.a_run(user=None))).names == frozenset(), "it was due later"


def test_a_manual_run_in_between_does_not_hide_who_unpaused_the_dag(airflow: Airflow) -> None:
    automatic(airflow.a_run(user=None))
    shape(Run(airflow, "gated", ""), CAROL, "unpause", task_id="", run_id="")
    airflow.now = datetime.now(UTC)
    assert of(airflow.a_run(user="dave")).names == {"carol", "dave"}
    assert of(automatic(airflow.a_run(user=None))).names == {"carol"}
    assert of(automatic(airflow.a_run(user=None))).names == frozenset()


def answer(run: Run, task_id: str, person: Person) -> None:
    """Let somebody answer what a task asks, as Airflow's own route leaves it."""

    def work(session: Session) -> None:
        by = {"id": person.id, "name": person.name}
        ti = task_at(session, run.place(task_id))
        detail = HITLDetail(ti_id=ti.id, options=["ok"], subject="?", params={}, responded_by=by)
        detail.responded_at = run.airflow.now
        session.add(detail)

    run.airflow.do(work)


def test_whoever_answers_another_task_of_the_run_shapes_it(airflow: Airflow) -> None:
    run = airflow.a_run()
    answer(run, "aside", Person("4711", "carol"))
    assert of(run).names == {"alice", "4711", "carol"}
    run.finish("aside")
    run.clear("aside")
    assert of(run).names == {"alice", "4711", "carol"}, "its answer stands in the history"


def test_whoever_voted_at_a_gate_does_not_shape_the_run_by_it(airflow: Airflow) -> None:
    run = airflow.a_run()
    run.approve()
    assert run.inbox().responded_by["name"] == "bob"
    assert of(run).names == {"alice"}


@pytest.mark.parametrize("event", ["create_xcom_entry", "update_xcom_entry", "delete_xcom_entry"])
def test_airflows_own_log_names_who_changed_an_xcom(airflow: Airflow, event: str) -> None:
    run, other = airflow.a_run(), airflow.a_run()
    log(airflow, event, "dave", dag_id=run.dag_id, run_id=run.run_id)
    assert of(run).names == {"alice", "dave"}
    assert of(other).names == {"alice"}


def test_whoever_cleared_by_command_while_the_run_was_there_is_in_the_set(airflow: Airflow) -> None:
    def cleared(owner: str, *words: str, dag_id: str, event: str = "cli_task_clear") -> None:
        log(airflow, event, owner, dag_id=dag_id, extra=json.dumps({"full_command": str(list(words))}))

    cleared("early", "airflow", "tasks", "clear", "gated", dag_id="gated")
    airflow.now = datetime.now(UTC)
    run = airflow.a_run()
    cleared("root", "airflow", "tasks", "clear", "-y", "gated", dag_id="gated")
    cleared("toor", "airflow", "dags", "clear", "gated", dag_id="gated", event="cli_dag_clear")
    cleared("by_pattern", "airflow", "tasks", "clear", "-yR", "ga", dag_id="ga")
    cleared("elsewhere", "airflow", "tasks", "clear", "-y", "ga", dag_id="ga")
    assert of(run).names == {"alice", "root", "toor", "by_pattern"}


def test_a_chat_account_of_a_member_is_a_member(airflow: Airflow) -> None:
    airflow.activate(POLICY + "identities: {slack: {team: T0001, users: {U1: alice, U2: bob}}}\n")
    found = of(airflow.a_run(user="alice"))
    assert found.names == {"alice", "U1"}
    assert ("U1", "Slack account of alice") in found.members
    assert not found.unattributed


def test_an_account_of_teams_of_a_member_is_a_member_whichever_way_it_is_linked(airflow: Airflow) -> None:
    tenant, mapped, named = (f"{n}0000000-2222-3333-4444-555555555555" for n in range(3))
    teams = f"{{tenant: {tenant}, users: {{{mapped}: alice}}, oid_is_username: true}}"
    airflow.activate(POLICY + f"identities: {{teams: {teams}}}\n")
    assert (mapped, "Teams account of alice") in of(airflow.a_run(user="alice")).members
    assert of(airflow.a_run(user=named)).names == {named}


def test_every_member_is_explained_once_with_all_its_reasons(airflow: Airflow) -> None:
    run = airflow.a_run()
    shape(run, ALICE, "clear")
    assert of(run).explained == ("alice (cleared tasks of the run; triggered the run)",)


def test_a_run_that_a_task_triggers_keeps_who_shaped_the_run_of_the_task(airflow: Airflow) -> None:
    parent = airflow.a_run(user="alice")
    child, grandchild = (airflow.a_run(user="alice", by_task=True) for _ in range(2))
    new = replace(child.place(), run_id="not_there_yet")
    assert not airflow.look(lambda s: parents.has_more_than_its_user(s, parent.ti_id("use"), new))
    shape(parent, CAROL, "clear")
    for above, below in ((parent, child), (child, grandchild)):
        assert airflow.look(lambda s, a=above: parents.has_more_than_its_user(s, a.ti_id("use"), new))
        airflow.do(lambda s, a=above, b=below: parents.keep_parents(s, a.ti_id("use"), b.place()))
    assert of(grandchild).names == {"alice", "carol"}
    assert ("carol", "started or shaped a run that triggered this one") in of(grandchild).members
    assert ("alice", "triggered the run") in of(grandchild).members
