"""Standing approvals: one unanimous decision, and everything that ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from airflow.models.connection import Connection
from airflow.models.dag_version import DagVersion
from sqlalchemy import select, update

from airflow_approvals.control import decisions, judging, registration, retally, standing
from airflow_approvals.core.ask import Ask, ReportedEvidence
from airflow_approvals.core.bar import Standing
from airflow_approvals.core.classification import Label
from airflow_approvals.core.digest import sha256_digest
from airflow_approvals.core.manifest import EntityCount
from airflow_approvals.core.models import Channel, Person, Refusal, Verdict
from airflow_approvals.core.seats import Seat
from airflow_approvals.store.release_tables import StandingRow, StandingUseRow
from airflow_approvals.store.tables import RequestRow
from tests.control.airflow_scene import BOB, CAROL, VERSIONED_DAG_ID, Airflow, Run, an_ask

DAY = timedelta(days=1)
WISH = standing.Wish()


def classified(month: str = "may", **changes: Any) -> Ask:
    """An ask for one month's data: other bytes, the same kinds."""
    ask = an_ask()
    entry = replace(ask.data.objects[0], uri=f"{month}.csv", sha256=sha256_digest(month.encode()), rows=7)
    data = replace(ask.data, digest=sha256_digest(f"manifest {month}".encode()), objects=(entry,), rows=7)
    digest = sha256_digest(f"evidence {month}".encode())
    evidence = ReportedEvidence(digest, data.digest, Label.INTERNAL, 14, 14, (), 0, "presidio", "model 1")
    parts: dict[str, Any] = {"evidence": {}, "data": {}} | changes
    return replace(ask, data=replace(data, **parts["data"]), evidence=replace(evidence, **parts["evidence"]))


def ask_now(run: Run, ask: Ask) -> RequestRow:
    """Park the gate and register as the server does: groups first, then one transaction."""
    request_id = registration.register_now(run.park(ask))
    assert request_id is not None
    return run.request(request_id)


def decide(run: Run, request: RequestRow, person: Person = BOB, wish: standing.Wish | None = WISH) -> Any:
    return decisions.decide(
        request.id, person=person, verdict=Verdict.APPROVE, reason="ok", channel=Channel.API, wish=wish
    )


def a_run(airflow: Airflow, *, user: str | None = "alice") -> Run:
    """A run of a DAG whose bundle keeps versions: nothing stands for another."""
    return airflow.a_run(VERSIONED_DAG_ID, user=user)


def granted(airflow: Airflow, *, uses: int = 2, **bar: Any) -> StandingRow:
    """Let bob approve a first run so that it stands for later ones."""
    airflow.activate_bar(standing=Standing(uses, DAY), **bar)
    run = a_run(airflow)
    request = ask_now(run, classified())
    assert decide(run, request).state == "approved"
    return row_of(airflow, request)


def row_of(airflow: Airflow, request: RequestRow) -> StandingRow:
    found = airflow.look(lambda s: s.scalar(select(StandingRow).where(StandingRow.request_id == request.id)))
    assert found is not None
    return found


def again(airflow: Airflow, row: StandingRow) -> StandingRow:
    return airflow.look(lambda s: s.get_one(StandingRow, row.id))


@pytest.mark.parametrize("engine", ["airflow", "postgres_airflow"])
def test_like_requests_are_approved_as_often_as_was_asked_for(
    engine: str, request: pytest.FixtureRequest
) -> None:
    airflow: Airflow = request.getfixturevalue(engine)
    row = granted(airflow)
    runs = [a_run(airflow) for _ in range(3)]
    seen = [
        ask_now(run, classified(month)) for run, month in zip(runs, ("june", "july", "august"), strict=True)
    ]
    assert [found.state for found in seen] == ["approved", "approved", "pending"]
    assert seen[0].decided_because == (
        f"Approved by standing approval {row.id}, use 1 of 2, by the votes on request {row.request_id}."
    )
    assert runs[0].grant() is not None
    kinds = [e["kind"] for e in airflow.entries(standing=row.id)]
    assert kinds == ["standing_granted", "standing_used", "standing_used", "standing_ended"]
    ended = again(airflow, row)
    assert (ended.state, ended.used, ended.ended_because) == ("ended", 2, "all its uses are used up")


def test_what_it_approved_opens_on_the_votes_behind_it(airflow: Airflow) -> None:
    granted(airflow)
    run = a_run(airflow)
    later = ask_now(run, classified("june"))

    def count(members: Any) -> Refusal | None:
        return airflow.do(
            lambda s: retally.still_satisfied(s, s.get_one(RequestRow, later.id), members, airflow.now)
        )

    members = judging.membership_now()
    assert count(members) is None
    left = replace(members, groups={"owners": frozenset({"carol"})})
    refusal = count(left)
    assert refusal is not None
    assert refusal.code == "no_longer_satisfied"


DIFFERENT: dict[str, tuple[dict[str, Any], str]] = {
    "columns": (
        {"data": {"objects": (replace(classified().data.objects[0], columns=("id", "iban")),)}},
        "columns",
    ),
    "profile": ({"data": {"profile_digest": sha256_digest(b"other")}}, "profile"),
    "label": ({"evidence": {"label": Label.CONFIDENTIAL}}, "label"),
    "residual": ({"evidence": {"findings": (("PERSON", 1),)}}, "residual risk"),
    "kinds": ({"data": {"counts": (EntityCount("email", "IBAN_CODE", 1),)}}, "kinds of what was masked"),
    "scanner": ({"evidence": {"model": "model 2"}}, "scanner"),
    "unscanned": ({"evidence": {"not_scanned": 1}}, "what is known of the data"),
    "unlisted": ({"data": {"object_count": 2}}, "what is known of the data"),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_a_difference_ends_it_and_people_are_asked(airflow: Airflow, case: str) -> None:
    changes, named = DIFFERENT[case]
    row = granted(airflow)
    assert ask_now(a_run(airflow), classified("june", **changes)).state == "pending"
    assert again(airflow, row).ended_because == f"a request differs in {named}"
    assert [e["details"]["because"] for e in airflow.entries(kind="standing_ended")] == [
        f"a request differs in {named}"
    ]
    assert ask_now(a_run(airflow), classified("july")).state == "pending"


def _policy_without(airflow: Airflow, row: StandingRow) -> Run:
    airflow.activate_bar(standing=None)
    return a_run(airflow)


def _another_policy(airflow: Airflow, row: StandingRow) -> Run:
    airflow.activate_bar(standing=Standing(2, DAY))
    return a_run(airflow)


def _another_host(airflow: Airflow, row: StandingRow) -> Run:
    airflow.do(
        lambda s: s.execute(update(Connection).where(Connection.conn_id == "sink_a").values(host="else"))
    )
    return a_run(airflow)


def _time_is_up(airflow: Airflow, row: StandingRow) -> Run:
    airflow.do(lambda s: setattr(s.get_one(StandingRow, row.id), "not_after", airflow.now - DAY))
    return a_run(airflow)


def _origin_fell(airflow: Airflow, row: StandingRow) -> Run:
    airflow.do(lambda s: setattr(s.get_one(RequestRow, row.request_id), "state", "conflict"))
    return a_run(airflow)


def _another_body(airflow: Airflow, row: StandingRow) -> Run:
    airflow.redeploy(VERSIONED_DAG_ID)
    return a_run(airflow)


def _without_versions(airflow: Airflow, row: StandingRow) -> Run:
    of_dag = update(DagVersion).where(DagVersion.dag_id == VERSIONED_DAG_ID)
    airflow.do(lambda s: s.execute(of_dag.values(bundle_version=None)))
    return a_run(airflow)


ENDS: dict[str, tuple[Callable[[Airflow, StandingRow], Run], str]] = {
    "policy without": (_policy_without, "the policy no longer allows it"),
    "another policy": (_another_policy, "a request differs in policy"),
    "another body": (_another_body, "a request differs in code"),
    "without versions": (
        _without_versions,
        "the DAG's bundle keeps no versions, so its code may change unseen",
    ),
    "another host": (_another_host, "a request differs in destination"),
    "time": (_time_is_up, "its time is up"),
    "origin": (_origin_fell, "the request it came from is no longer approved"),
    "requester": (
        lambda airflow, row: a_run(airflow, user="bob"),
        "bob, who approved it, started or shaped a run that would use it",
    ),
    "unattributed": (
        lambda airflow, row: a_run(airflow, user=None),
        "the votes behind it are no longer enough: "
        "nobody can be named who started this run, so it needs one more person",
    ),
}


@pytest.mark.parametrize("case", ENDS)
def test_what_changed_since_ends_it(airflow: Airflow, case: str) -> None:
    change, because = ENDS[case]
    row = granted(airflow)
    run = change(airflow, row)
    assert ask_now(run, classified("june")).state == "pending"
    assert again(airflow, row).ended_because == because


def test_an_unattributed_run_may_use_what_two_people_gave(airflow: Airflow) -> None:
    airflow.activate_bar(standing=Standing(2, DAY), seats=(Seat("owners", 2),))
    run = a_run(airflow)
    first = ask_now(run, classified())
    assert decide(run, first, BOB).state == "pending"
    assert decide(run, first, CAROL, standing.Wish(uses=1)).state == "approved"
    assert row_of(airflow, first).uses == 1
    assert ask_now(a_run(airflow, user=None), classified("june")).state == "approved"


def test_only_a_unanimous_wish_makes_one(airflow: Airflow) -> None:
    airflow.activate_bar(standing=Standing(2, DAY), seats=(Seat("owners", 2),))
    run = a_run(airflow)
    first = ask_now(run, classified())
    decide(run, first, BOB, None)
    assert decide(run, first, CAROL).state == "approved"
    assert airflow.entries(kind="standing_granted") == []


def test_a_wish_is_forgotten_with_the_vote_it_came_with(airflow: Airflow) -> None:
    airflow.activate_bar(standing=Standing(2, DAY), seats=(Seat("owners", 2),))
    run = a_run(airflow)
    first = ask_now(run, classified())
    decide(run, first, BOB)
    decide(run, first, BOB, None)
    assert decide(run, first, CAROL).state == "approved"
    assert airflow.entries(kind="standing_granted") == []


@pytest.mark.parametrize(
    ("wish", "ask", "code"),
    [
        (standing.Wish(uses=3), classified(), "standing_too_far"),
        (standing.Wish(within=2 * DAY), classified(), "standing_too_far"),
        (WISH, an_ask(), "standing_not_allowed"),
        (WISH, classified(evidence={"not_scanned": 1}), "standing_not_allowed"),
    ],
)
def test_a_wish_beyond_the_rule_or_for_unknown_data_is_refused(
    airflow: Airflow, wish: standing.Wish, ask: Ask, code: str
) -> None:
    airflow.activate_bar(standing=Standing(2, DAY))
    run = a_run(airflow)
    request = ask_now(run, ask)
    answer = decide(run, request, BOB, wish)
    assert isinstance(answer, Refusal)
    assert answer.code == code
    assert run.votes(request) == []


def test_there_is_none_where_the_bundle_keeps_no_versions(airflow: Airflow) -> None:
    airflow.activate_bar(standing=Standing(2, DAY))
    run = airflow.a_run()
    answer = decide(run, ask_now(run, classified()))
    assert isinstance(answer, Refusal)
    assert answer.code == "standing_not_allowed"
    assert "keeps no versions" in answer.sentence


def test_without_the_rules_leave_there_is_none(airflow: Airflow) -> None:
    run = a_run(airflow)
    answer = decide(run, ask_now(run, classified()))
    assert isinstance(answer, Refusal)
    assert answer.code == "standing_not_allowed"


def test_whoever_may_decide_may_end_it(airflow: Airflow) -> None:
    row = granted(airflow)
    members = judging.membership_now()
    mallory = Person("mallory", "mallory")
    refusal = airflow.do(lambda s: standing.end(s, row.id, mallory, members))
    assert refusal is not None
    assert refusal.code == "not_eligible"
    assert airflow.do(lambda s: standing.end(s, row.id, CAROL, members)) is None
    assert again(airflow, row).ended_because == "ended by carol"
    assert airflow.do(lambda s: standing.end(s, row.id, CAROL, members)).code == "already_ended"
    assert ask_now(a_run(airflow), classified("june")).state == "pending"


def test_a_newer_one_takes_the_place_of_the_older(airflow: Airflow) -> None:
    airflow.activate_bar(standing=Standing(2, DAY))
    runs = [a_run(airflow) for _ in range(2)]
    first, second = (ask_now(run, classified(run.run_id)) for run in runs)
    decide(runs[0], first)
    decide(runs[1], second)
    assert row_of(airflow, first).ended_because == "another standing approval took its place"
    assert row_of(airflow, second).state == "live"


@pytest.mark.parametrize("engine", ["airflow", "postgres_airflow"])
def test_two_at_once_never_share_the_last_use(engine: str, request: pytest.FixtureRequest) -> None:
    airflow: Airflow = request.getfixturevalue(engine)
    row = granted(airflow, uses=1)
    intakes = [a_run(airflow).park(classified(month)) for month in ("june", "july", "august")]
    barrier, ids = threading.Barrier(3), []

    def register(intake_id: int) -> None:
        barrier.wait()
        ids.append(registration.register_now(intake_id))

    threads = [threading.Thread(target=register, args=(intake_id,)) for intake_id in intakes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    states = airflow.look(lambda s: sorted(s.get_one(RequestRow, one).state for one in ids))
    assert states == ["approved", "pending", "pending"]
    numbers = airflow.look(
        lambda s: [u.number for u in s.query(StandingUseRow).filter_by(standing_id=row.id)]
    )
    assert numbers == [1]


def test_a_service_account_has_no_vote(airflow: Airflow) -> None:
    airflow.conf("service_accounts", "robot, carol")
    run = a_run(airflow)
    request = run.ask()
    answer = run.vote(request, CAROL)
    assert isinstance(answer, Refusal)
    assert answer.code == "service_account"
    assert airflow.entries(kind="vote_refused", run_id=run.run_id)[0]["details"]["code"] == "service_account"
    assert run.vote(request, BOB).state == "approved"


def test_a_service_account_ends_nothing(airflow: Airflow) -> None:
    row = granted(airflow)
    airflow.conf("service_accounts", "carol")
    members = judging.membership_now()
    refusal = airflow.do(lambda s: standing.end(s, row.id, CAROL, members))
    assert refusal is not None
    assert refusal.code == "service_account"
    assert again(airflow, row).state == "live"
