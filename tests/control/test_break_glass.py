"""Emergencies on a real metadata database: who may, what it costs, and that nothing else opens."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.models.dagrun import DagRun
from airflow.utils.types import DagRunTriggeredByType
from sqlalchemy import update
from sqlalchemy.orm import Session

from airflow_approvals.control import health, judging, media
from airflow_approvals.control.break_glass import Reviewed
from airflow_approvals.control.decisions import Decided
from airflow_approvals.control.requesters import (
    BY_COMMAND,
    TOO_MANY,
    TOO_MANY_EVENTS,
    TRIGGERED,
    Requesters,
)
from airflow_approvals.core.models import Channel, Person, RequestState, Verdict
from airflow_approvals.doctor import people
from airflow_approvals.store import break_glass as uses
from airflow_approvals.store import ledger
from airflow_approvals.store.release_tables import BreakGlassRow
from airflow_approvals.store.tables import OutboxRow, RequestRow
from tests.control.airflow_scene import (
    ALICE,
    BOB,
    CAROL,
    DAVE,
    Airflow,
    Run,
    an_ask,
    open_sink,
    outcome_of,
    start,
)
from tests.control.emergency_scene import (
    EMERGENCY_POLICY,
    ERIN,
    FRANK,
    GRACE,
    RULE,
    activate,
    nothing_opened,
    open_gate,
    refused,
    review,
    scene,
)
from tests.control.test_requesters import shape
from tests.doctor.conftest import HEALTHY

__all__ = ["scene"]


@pytest.fixture
def run(scene: Airflow) -> Run:
    return scene.a_run()


def test_nobody_opens_alone_what_they_may_have_started(scene: Airflow) -> None:
    by_command = scene.a_run()
    request = by_command.ask()
    started = update(DagRun).where(DagRun.run_id == by_command.run_id)
    scene.do(lambda s: s.execute(started.values(triggered_by=DagRunTriggeredByType.CLI)))
    assert refused(open_gate(request)) == "people_unknown"
    nothing_opened(by_command, request)


def test_a_commands_word_stays_one_over_any_hop() -> None:
    hop = f"{BY_COMMAND}, in upstream whose data started this run"
    assert Requesters((("alice", hop),)).is_cut_off
    assert not Requesters((("alice", TRIGGERED),)).is_cut_off


@pytest.mark.parametrize("note", [TOO_MANY, TOO_MANY_EVENTS])
def test_nobody_opens_alone_what_too_many_had_a_hand_in(run: Run, note: str) -> None:
    request = run.ask()
    known = Requesters.from_text(run.request(request.id).requesters)
    text = Requesters(known.members, (note,)).to_text()
    run.airflow.do(lambda s: setattr(s.get_one(RequestRow, request.id), "requesters", text))
    assert refused(open_gate(request)) == "people_unknown"
    nothing_opened(run, request)


def use_of(run: Run, request: RequestRow) -> BreakGlassRow:
    return run.airflow.look(lambda s: s.get_one(BreakGlassRow, request.id))


def change_use(run: Run, request: RequestRow, **values: Any) -> None:
    def work(session: Session) -> None:
        use = session.get_one(BreakGlassRow, request.id)
        for name, value in values.items():
            setattr(use, name, value)

    run.airflow.do(work)


# -- what it does ----------------------------------------------------------------------------


def test_one_person_opens_the_gate_and_every_record_says_so(run: Run) -> None:
    request = run.ask()
    answer = open_gate(request)
    assert isinstance(answer, Decided)
    assert answer.state is RequestState.APPROVED
    assert run.airflow.kinds(run) == [
        "request_registered", "break_glass_used", "grant_issued", "request_approved"
    ]  # fmt: skip
    (entry,) = run.airflow.entries(kind="break_glass_used", run_id=run.run_id)
    assert (entry["actor"], entry["channel"]) == ("erin", "ui")
    assert entry["details"]["skipped"] == ["bob", "carol"]
    assert (entry["details"]["ticket"], entry["details"]["reason"]) == ("INC-1", "production is down")
    because = run.request(request.id).decided_because or ""
    assert because.startswith(
        "BREAK-GLASS: opened by erin alone, ticket INC-1, without the votes of bob, carol."
    )
    assert "BREAK\\-GLASS" in run.inbox().body
    assert run.inbox().chosen_options == ["Approve"]
    grant = run.grant()
    assert grant is not None
    assert json.loads(grant.claims)["break_glass"] is True
    assert outcome_of(run)["outcome"] == "approved"


def test_the_grant_opens_the_sink_until_the_review_is_overdue(run: Run) -> None:
    open_gate(run.ask())
    run.finish("gate")
    run.finish("between")
    assert start(run) is None
    assert open_sink(run) is None
    overdue = open_sink(run, after=timedelta(hours=25))
    assert overdue is not None


def test_the_grant_opens_nothing_once_its_user_has_shaped_the_run(run: Run) -> None:
    open_gate(run.ask())
    run.finish("gate")
    run.finish("between")
    assert start(run) is None
    shape(run, ERIN, "mark", task_id="aside")
    assert open_sink(run) is not None


@pytest.mark.parametrize("since", ["_refuted", "_forbidden_now"])
def test_the_grant_opens_nothing_that_no_vote_could_open_since(run: Run, since: str) -> None:
    request = run.ask()
    open_gate(request)
    run.finish("gate")
    run.finish("between")
    assert start(run) is None
    globals()[since](run, request)
    assert open_sink(run) is not None


def test_an_ordinary_approval_carries_no_such_mark(run: Run) -> None:
    request = run.ask()
    run.vote(request)
    grant = run.grant()
    assert grant is not None
    assert json.loads(grant.claims)["break_glass"] is False


def test_whoever_has_voted_was_not_skipped(scene: Airflow) -> None:
    run = scene.a_run(user=None)
    request = run.ask()
    run.vote(request, BOB)
    assert isinstance(open_gate(request), Decided)
    assert json.loads(use_of(run, request).skipped) == ["alice", "carol"]


def test_every_skipped_approver_with_a_chat_account_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(media, "slack_configured", lambda _: True)
    request = run.ask()
    open_gate(request)
    rows = run.airflow.look(lambda s: s.query(OutboxRow).filter_by(request_id=request.id).all())
    (whisper,) = [row for row in rows if row.kind == "whisper"]
    assert whisper.recipient == "U0001"
    assert "opened by erin alone" in whisper.text
    assert "production is down" in whisper.text
    assert "update" in {row.kind for row in rows}


# -- what it does not do ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("person", "said", "code"),
    [
        (ALICE, {}, "self_approval"),
        (DAVE, {}, "not_eligible"),
        (BOB, {}, "not_eligible"),
        (ERIN, {"channel": Channel.SLACK}, "channel_views_only"),
        (ERIN, {"reason": "short"}, "reason_required"),
        (ERIN, {"reason": "   "}, "reason_required"),
        (ERIN, {"ticket": ""}, "ticket_required"),
        (ERIN, {"ticket": "see INC-1"}, "ticket_required"),
    ],
)
def test_who_or_what_does_not_fit_opens_nothing_and_is_recorded(
    run: Run, person: Person, said: dict[str, Any], code: str
) -> None:
    request = run.ask()
    assert refused(open_gate(request, person, **said)) == code
    nothing_opened(run, request)
    (entry,) = run.airflow.entries(kind="break_glass_refused", run_id=run.run_id)
    assert (entry["actor"], entry["details"]["code"]) == (person.id, code)


def test_a_text_that_is_too_long_is_refused(run: Run) -> None:
    request = run.ask()
    assert refused(open_gate(request, reason="x" * 2001)) == "reason_too_long"
    assert refused(open_gate(request, ticket="INC-" + "1" * 250)) == "reason_too_long"
    nothing_opened(run, request)


def test_whoever_shaped_the_run_is_barred_too(run: Run) -> None:
    request = run.ask()
    shape(run, ERIN, "clear", task_id="aside")
    assert refused(open_gate(request)) == "self_approval"
    nothing_opened(run, request)


def _no_rule(run: Run, request: RequestRow) -> None:
    activate(run.airflow, rule=None)


def _forbidden_now(run: Run, request: RequestRow) -> None:
    activate(run.airflow, EMERGENCY_POLICY.replace("action: leak", "action: export"))


def _refuted(run: Run, request: RequestRow) -> None:
    run.airflow.do(lambda s: ledger.append(s, "evidence_refuted", at=run.airflow.now, request_id=request.id))


@pytest.mark.parametrize(
    ("happens", "code"),
    [(_no_rule, "no_break_glass"), (_forbidden_now, "forbidden"), (_refuted, "evidence_refuted")],
)
def test_what_no_vote_could_open_stays_shut(
    run: Run, happens: Callable[[Run, RequestRow], None], code: str
) -> None:
    request = run.ask()
    happens(run, request)
    assert refused(open_gate(request)) == code
    nothing_opened(run, request)
    assert run.airflow.entries(kind="break_glass_refused", run_id=run.run_id, code=code)


def test_a_token_opens_only_where_tokens_vote(run: Run) -> None:
    no_tokens = EMERGENCY_POLICY.replace(
        "channels: {ui: decide, api: decide}", "channels: {ui: decide, api: view}"
    )
    assert no_tokens != EMERGENCY_POLICY
    activate(run.airflow, no_tokens)
    request = run.ask()
    assert refused(open_gate(request, channel=Channel.API)) == "channel_views_only"
    nothing_opened(run, request)
    assert isinstance(open_gate(request, channel=Channel.UI), Decided)
    activate(run.airflow)
    review(request)
    other = run.airflow.a_run()
    assert isinstance(open_gate(other.ask(), channel=Channel.API), Decided)


def test_a_closed_request_is_not_opened_again(run: Run) -> None:
    request = run.ask()
    run.vote(request, CAROL, Verdict.REJECT)
    assert refused(open_gate(request)) == "already_closed"
    assert run.grant() is None
    assert run.airflow.entries(kind="break_glass_refused", run_id=run.run_id, code="already_closed")
    assert refused(open_gate(RequestRow(id="f" * 32))) == "unknown_request"


def test_a_forbidden_ask_never_becomes_pending(run: Run) -> None:
    request = run.ask(an_ask(action="leak"))
    assert refused(open_gate(request)) == "already_closed"
    assert run.grant() is None


# -- the next use ----------------------------------------------------------------------------


def test_there_is_no_next_use_at_any_gate_until_somebody_else_has_reviewed(run: Run) -> None:
    first, other = run.ask(), run.airflow.a_run("in_a_row")
    assert isinstance(open_gate(first), Decided)
    request = other.ask()
    assert refused(open_gate(request, FRANK)) == "review_outstanding"
    nothing_opened(other, request)
    assert isinstance(review(first), Reviewed)
    assert isinstance(open_gate(request, FRANK), Decided)


def test_beyond_the_number_within_thirty_days_there_is_none(run: Run) -> None:
    asked = [run.ask(), run.airflow.a_run().ask(), (last := run.airflow.a_run()).ask()]
    for request in asked[:2]:
        assert isinstance(open_gate(request), Decided)
        assert isinstance(review(request), Reviewed)
    assert refused(open_gate(asked[2])) == "uses_exhausted"
    nothing_opened(last, asked[2])
    change_use(run, asked[0], used_at=datetime.now(UTC) - timedelta(days=31))
    assert isinstance(open_gate(asked[2]), Decided)


def test_of_two_at_once_at_different_gates_one_opens(scene: Airflow) -> None:
    runs = [scene.a_run() for _ in range(4)]
    asked = [run.ask() for run in runs]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(open_gate, asked))
    assert sum(isinstance(answer, Decided) for answer in answers) == 1
    assert {refused(a) for a in answers if not isinstance(a, Decided)} == {"review_outstanding"}
    assert sum(run.grant() is not None for run in runs) == 1


def test_of_two_at_once_at_one_gate_one_opens(run: Run) -> None:
    request = run.ask()
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda person: open_gate(request, person), (ERIN, FRANK)))
    assert sum(isinstance(answer, Decided) for answer in answers) == 1
    assert len(run.airflow.entries(kind="break_glass_used", run_id=run.run_id)) == 1


# -- the review ------------------------------------------------------------------------------


def test_a_review_is_recorded_once(run: Run) -> None:
    request = run.ask()
    open_gate(request)
    assert isinstance(review(request), Reviewed)
    (entry,) = run.airflow.entries(kind="break_glass_reviewed", run_id=run.run_id)
    assert (entry["actor"], entry["details"]["used_by"]) == ("grace", "erin")
    assert entry["details"]["review"] == "looked at it, was justified"
    use = use_of(run, request)
    assert (use.reviewed_by, use.review) == ("grace", "looked at it, was justified")
    assert refused(review(request)) == "already_reviewed"


@pytest.mark.parametrize(
    ("person", "said", "code"),
    [
        (ERIN, {}, "self_review"),
        (ALICE, {}, "self_approval"),
        (BOB, {}, "not_eligible"),
        (GRACE, {"channel": Channel.SLACK}, "channel_views_only"),
        (GRACE, {"text": "  "}, "review_required"),
    ],
)
def test_the_user_a_requester_or_a_stranger_reviews_nothing(
    run: Run, person: Person, said: dict[str, Any], code: str
) -> None:
    request = run.ask()
    open_gate(request)
    assert refused(review(request, person, **said)) == code
    assert use_of(run, request).reviewed_at is None
    entries = run.airflow.entries(kind="break_glass_refused", run_id=run.run_id, act="review")
    assert [e["details"]["code"] for e in entries] == ([] if code == "review_required" else [code])


def test_only_a_use_can_be_reviewed(run: Run) -> None:
    assert refused(review(run.ask())) == "unknown_request"


def test_without_the_rule_there_is_nobody_to_review(run: Run) -> None:
    request = run.ask()
    open_gate(request)
    activate(run.airflow, rule=None)
    assert refused(review(request)) == "no_break_glass"


def test_an_overdue_review_is_said_in_health_and_by_the_doctor(run: Run) -> None:
    request = run.ask()
    open_gate(request)
    now = datetime.now(UTC)
    assert health.figures()["break_glass_overdue"] == 0
    assert not list(people.break_glass_reviewed(replace(HEALTHY, now=now)))
    change_use(run, request, review_due_at=now - timedelta(hours=1))
    assert health.figures()["break_glass_overdue"] == 1
    assert "A gate was opened by break-glass and not reviewed in time." in health.report()["problems"]
    (found,) = people.break_glass_reviewed(replace(HEALTHY, now=now))
    assert request.id in found.what
    assert not list(people.break_glass_reviewed(replace(HEALTHY, now=now, worker=True)))
    review(request)
    assert health.figures()["break_glass_overdue"] == 0


def test_uses_are_listed_unreviewed_first(run: Run) -> None:
    first, second = run.ask(), run.airflow.a_run().ask()
    open_gate(first)
    review(first)
    open_gate(second)
    listed = run.airflow.look(lambda s: [use.request_id for use in uses.newest(s, 10)])
    assert listed == [second.id, first.id]


def test_a_group_that_cannot_be_asked_opens_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_approvals.identity.directory import resolve

    request = run.ask()
    monkeypatch.setattr(
        judging,
        "resolve",
        lambda policy: replace(resolve(policy), groups={}, unresolved={RULE.group: "it is down"}),
    )
    assert refused(open_gate(request)) == "group_unresolved"
    nothing_opened(run, request)


# -- programs --------------------------------------------------------------------------------


def test_a_service_account_opens_nothing_whatever_group_it_is_in(run: Run) -> None:
    run.airflow.conf("service_accounts", "robot, erin")
    request = run.ask()
    assert refused(open_gate(request)) == "service_account"
    nothing_opened(run, request)
    (entry,) = run.airflow.entries(kind="break_glass_refused", run_id=run.run_id)
    assert entry["details"]["code"] == "service_account"


def test_a_service_account_reviews_nothing(run: Run) -> None:
    request = run.ask()
    open_gate(request)
    run.airflow.conf("service_accounts", "grace")
    assert refused(review(request)) == "service_account"
    assert use_of(run, request).reviewed_at is None


def test_a_use_by_what_is_listed_as_a_service_account_since_opens_nothing(run: Run) -> None:
    open_gate(run.ask())
    run.finish("gate")
    run.finish("between")
    assert start(run) is None
    run.airflow.conf("service_accounts", "erin")
    lapsed = open_sink(run)
    assert lapsed is not None
    assert "service account" in lapsed.sentence
