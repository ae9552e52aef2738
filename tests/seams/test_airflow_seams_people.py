"""What Airflow knows of people, as the seams read it from a real database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from airflow.models.asset import AssetEvent, AssetModel
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from airflow_approvals.seams import airflow_seams_people
from tests.control.airflow_scene import Airflow, Run


@pytest.fixture
def run(airflow: Airflow) -> Run:
    return airflow.a_run()


@pytest.fixture(params=["airflow", "postgres_airflow"])
def either(request: pytest.FixtureRequest) -> Iterator[Airflow]:
    """SQLite and PostgreSQL; the log is emptied, since tests on PostgreSQL share it."""
    scene = request.getfixturevalue(request.param)
    yield scene
    scene.do(lambda s: s.execute(delete(Log)))


def log(airflow: Airflow, event: str, owner: str, *, ago: timedelta = timedelta(0), **fields: Any) -> None:
    row = Log(event=event, owner=owner, **fields)
    row.dttm = row.dttm - ago
    airflow.do(lambda s: s.add(row))


def feed(run: Run, *sources: Run | None) -> None:
    """Let a run be started by asset events: of tasks of these runs, or (``None``) by a call."""

    def work(session: Session) -> None:
        asset = session.scalar(select(AssetModel).limit(1)) or AssetModel(
            name="a", uri="s3://a", group="asset"
        )
        session.add(asset)
        session.flush()
        row = session.scalars(select(DagRun).where(DagRun.run_id == run.run_id)).one()
        for source in sources:
            made_by = (source.dag_id, source.run_id, "use") if source else (None, None, None)
            event = AssetEvent(asset_id=asset.id, extra={})
            event.source_dag_id, event.source_run_id, event.source_task_id = made_by
            row.consumed_asset_events.append(event)

    run.airflow.do(work)


def asset_id(airflow: Airflow) -> int:
    return airflow.look(lambda s: s.scalars(select(AssetModel.id).order_by(AssetModel.id)).first())


def test_the_producing_runs_are_those_of_the_consumed_events(either: Airflow) -> None:
    run, other, producer, second = (either.a_run() for _ in range(4))
    feed(run, producer, second, producer)
    feed(other, run)

    def of(one: Run) -> set[tuple[str, str]]:
        return either.look(lambda s: airflow_seams_people.producing_runs(s, one.dag_id, one.run_id))

    assert of(run) == {(producer.dag_id, producer.run_id), (second.dag_id, second.run_id)}
    assert of(other) == {(run.dag_id, run.run_id)}
    assert of(producer) == set()


def test_the_maker_of_an_event_is_whoever_called_just_before_for_that_asset(either: Airflow) -> None:
    run = either.a_run()
    feed(either.a_run(), None)
    wanted = asset_id(either)
    log(either, "create_asset_event", "bob", extra=json.dumps({"asset_id": wanted}))
    log(either, "create_asset_event", "mallory", extra=json.dumps({"asset_id": wanted + 1}))
    log(
        either, "create_asset_event", "erin", extra=json.dumps({"asset_id": wanted}), ago=timedelta(minutes=2)
    )
    log(either, "create_asset_event", "frank", extra="not json")
    log(either, "trigger_dag_run", "grace", extra=json.dumps({"asset_id": wanted}))
    feed(run, None)
    log(either, "create_asset_event", "henry", extra=json.dumps({"asset_id": wanted}))
    found = either.look(lambda s: airflow_seams_people.asset_event_makers(s, run.dag_id, run.run_id))
    assert found == {"bob", "frank"}, "what the log could not read may have named it"


@pytest.mark.parametrize(
    ("extra", "counts"), [({"asset_id": "{}"}, True), ({"method": "POST"}, True), ({"asset_id": "x"}, False)]
)
def test_a_call_counts_however_it_spelt_the_asset(airflow: Airflow, extra: Any, counts: bool) -> None:
    """Airflow takes ``"5"`` for 5, and logs no body whose content type is not quite JSON."""
    feed(airflow.a_run(), None)
    spelt = {key: value.format(asset_id(airflow)) for key, value in extra.items()}
    log(airflow, "create_asset_event", "bob", extra=json.dumps(spelt))
    run = airflow.a_run()
    feed(run, None)
    found = airflow.look(lambda s: airflow_seams_people.asset_event_makers(s, run.dag_id, run.run_id))
    assert found == ({"bob"} if counts else set())


@pytest.mark.parametrize(
    ("extra", "counts"),
    [
        ({"is_paused": 0}, True), ({"is_paused": "off"}, True), ({"method": "PATCH"}, True),
        ({"is_paused": "on"}, False), ({"is_paused": 1}, False),
    ],
)  # fmt: skip
def test_an_unpause_counts_however_it_was_spelt(airflow: Airflow, extra: Any, counts: bool) -> None:
    log(airflow, "patch_dags", "bob", extra=json.dumps(extra))
    found = airflow.look(lambda s: airflow_seams_people.logged_unpausers(s, "gated", None))
    assert found == ({"bob"} if counts else set())


def test_an_unpause_by_a_pattern_of_the_command_line_counts_for_all(airflow: Airflow) -> None:
    words = str(["airflow", "dags", "unpause", "--treat-dag-id-as-regex", "ga.*"])
    log(airflow, "cli_dag_unpause", "root", dag_id="ga.*", extra=json.dumps({"full_command": words}))
    assert airflow.look(lambda s: airflow_seams_people.logged_unpausers(s, "gated", None)) == {"root"}


def test_a_call_before_an_event_of_a_task_made_nothing(either: Airflow) -> None:
    run = either.a_run()
    feed(either.a_run(), None)
    log(either, "create_asset_event", "bob", extra=json.dumps({"asset_id": asset_id(either)}))
    feed(run, either.a_run())
    assert not either.look(lambda s: airflow_seams_people.asset_event_makers(s, run.dag_id, run.run_id))


def test_unpausers_are_those_of_the_dag_since_a_moment(either: Airflow) -> None:
    run = either.a_run()
    unpaused, paused = json.dumps({"is_paused": False}), json.dumps({"is_paused": True})
    log(either, "patch_dag", "bob", dag_id=run.dag_id, extra=unpaused)
    log(either, "patch_dag", "carol", dag_id=run.dag_id, extra=paused)
    log(either, "patch_dag", "dave", dag_id="another", extra=unpaused)
    log(either, "patch_dags", "erin", extra=unpaused)
    log(either, "cli_dag_unpause", "root", dag_id=run.dag_id)
    log(either, "patch_dag", "early", dag_id=run.dag_id, extra=unpaused, ago=timedelta(days=1))
    since = either.now - timedelta(hours=1)

    def of(before: Any) -> set[str]:
        times = before and airflow_seams_people.RunTimes(either.now, either.now, before)
        return either.look(lambda s: airflow_seams_people.logged_unpausers(s, run.dag_id, times))

    assert of(since) == {"bob", "erin", "root"}
    assert of(None) == {"bob", "erin", "root", "early"}


def test_the_run_before_is_of_the_same_dag_and_older(airflow: Airflow) -> None:
    first, elsewhere, second = airflow.a_run(), airflow.a_run("ungated"), airflow.a_run()
    airflow.a_run()

    def before(run: Run) -> Any:
        return airflow.look(lambda s: airflow_seams_people.times_of(s, run.dag_id, run.run_id)).before

    created = select(DagRun.created_at).where(DagRun.run_id == first.run_id)
    assert before(second) == airflow.look(lambda s: s.scalar(created)) is not None
    assert before(first) is None
    assert before(elsewhere) is None


def test_airflow_logs_the_calls_under_the_names_we_look_for() -> None:
    """``action_logging`` writes the name of the endpoint's function, or of the command's."""
    from airflow.api_fastapi.core_api.routes.public.assets import assets_router
    from airflow.api_fastapi.core_api.routes.public.backfills import backfills_router
    from airflow.api_fastapi.core_api.routes.public.dags import dags_router
    from airflow.api_fastapi.core_api.routes.public.xcom import xcom_router
    from airflow.cli.commands import dag_command, task_command

    routes = {r.endpoint.__name__: r for r in [*assets_router.routes, *dags_router.routes]}
    routes |= {r.endpoint.__name__: r for r in [*backfills_router.routes, *xcom_router.routes]}
    wanted = {
        airflow_seams_people._MADE_BY_CALL,
        airflow_seams_people._BACKFILLED_BY_CALL,
        *airflow_seams_people._UNPAUSING_EVENTS,
        *airflow_seams_people._EDITING_EVENTS,
    }
    assert wanted <= set(routes)
    for name in wanted:
        logged = [d.dependency.__qualname__ for d in routes[name].dependencies]
        assert any("action_logging" in one for one in logged), name
    assert f"cli_{dag_command.dag_unpause.__name__}" == airflow_seams_people._UNPAUSED_BY_COMMAND
    clearing = tuple(f"cli_{one.__name__}" for one in (task_command.task_clear, dag_command.dag_clear))
    assert clearing == airflow_seams_people._CLEARED_BY_COMMAND


def test_the_triggering_user_is_what_airflow_recorded(airflow: Airflow) -> None:
    by_alice, by_nobody = airflow.a_run(), airflow.a_run(user=None)

    def user_of(run: Run) -> str | None:
        return airflow.look(lambda s: airflow_seams_people.triggering_user(s, run.dag_id, run.run_id))

    assert (user_of(by_alice), user_of(by_nobody)) == ("alice", None)


def test_a_clear_does_not_move_the_moment_a_run_could_start(run: Run) -> None:
    def moment() -> Any:
        return run.airflow.look(lambda s: airflow_seams_people.times_of(s, run.dag_id, run.run_id))

    before = moment()
    assert before.due == run.airflow.now
    assert before.made is not None
    run.start("use")
    run.finish("use")
    run.clear("use")
    assert moment() == before
    assert run.airflow.look(lambda s: airflow_seams_people.times_of(s, run.dag_id, "nowhere")) is None


def test_a_run_that_no_backfill_made_has_no_backfiller(run: Run) -> None:
    assert run.airflow.look(lambda s: airflow_seams_people.backfiller(s, run.dag_id, run.run_id)) is None


def test_clearers_are_those_airflow_logged_for_this_very_run(airflow: Airflow) -> None:
    run, other = airflow.a_run(), airflow.a_run()

    def logged(event: str, owner: str, run_id: str) -> Log:
        return Log(event=event, owner=owner, dag_id=run.dag_id, run_id=run_id)

    rows = [
        logged("post_clear_task_instances", "bob", run.run_id),
        logged("clear_dag_run", "carol", run.run_id),
        logged("post_clear_task_instances", "dave", other.run_id),
        logged("trigger_dag_run", "erin", run.run_id),
    ]
    airflow.do(lambda s: s.add_all(rows))
    found = airflow.look(lambda s: airflow_seams_people.logged_clearers(s, run.dag_id, run.run_id))
    assert found == {"bob", "carol"}


def test_airflow_logs_clears_under_the_names_we_look_for() -> None:
    """``action_logging`` writes the name of the endpoint's function."""
    from airflow.api_fastapi.core_api.routes.public.dag_run import dag_run_at_dag_router, dag_run_router
    from airflow.api_fastapi.core_api.routes.public.task_instances import task_instances_router

    routes = [*dag_run_router.routes, *dag_run_at_dag_router.routes, *task_instances_router.routes]
    clearing = {r.endpoint.__name__ for r in routes if "clear" in r.path.lower()}
    assert set(airflow_seams_people._CLEARING_EVENTS) <= clearing
