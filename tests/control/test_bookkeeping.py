"""What the owner of the database writes beside the ledger decides nothing, and is found."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

import pytest
from sqlalchemy import Delete, Insert, Update, delete, insert, update
from sqlalchemy.orm import Session

from airflow_approvals.cli import ledger as cli
from airflow_approvals.control import bookkeeping, judging, retally, votes
from airflow_approvals.core.models import Verdict
from airflow_approvals.errors import LedgerError
from airflow_approvals.store.tables import ActivePolicyRow, GrantRow, PolicyRow, RequestRow, VoteRow
from tests.control.airflow_scene import ALICE, BOB, CAROL, DAVE, Airflow, Run, open_sink, start

MADE_UP = {"person_id": "carol", "person_name": "carol", "verdict": "approve", "reason": "", "channel": "api"}


@pytest.fixture
def run(airflow: Airflow) -> Run:
    """A run whose request has carol's rejection and bob's vote, under a rule of two without a veto."""
    from airflow_approvals.core.seats import Seat

    airflow.activate_bar(seats=(Seat("owners", 2),), veto=False)
    return airflow.a_run(user="dave")


def differences(run: Run) -> list[str]:
    return run.airflow.look(lambda s: list(bookkeeping.differences(s)))


def _vote(run: Run, request: RequestRow) -> Insert:
    return insert(VoteRow).values(request_id=request.id, at=run.airflow.now, **MADE_UP)


def _turned(run: Run, request: RequestRow) -> Update:
    return update(VoteRow).where(VoteRow.person_id == "carol").values(verdict="approve")


def _renamed(run: Run, request: RequestRow) -> Update:
    return update(VoteRow).where(VoteRow.person_id == "bob").values(person_name="alice")


def _removed(run: Run, request: RequestRow) -> Delete:
    return delete(VoteRow).where(VoteRow.person_id == "carol")


@pytest.mark.parametrize("change", [_vote, _turned, _renamed, _removed])
def test_votes_that_are_not_the_ledgers_count_for_nothing(
    run: Run, change: Callable[[Run, RequestRow], Insert | Update | Delete]
) -> None:
    request = run.ask()
    run.vote(request, BOB)
    if change is not _vote:
        run.vote(request, CAROL, Verdict.REJECT)
    assert differences(run) == []
    run.airflow.do(lambda s: s.execute(change(run, request)))
    with pytest.raises(LedgerError, match="not those that stand in the ledger"):
        run.vote(request, ALICE)
    assert run.request(request.id).state == "pending"
    assert run.grant() is None
    (sentence,) = differences(run)
    assert request.id in sentence


def test_a_made_up_vote_opens_no_sink(airflow: Airflow) -> None:
    run = airflow.a_run()
    request = run.ask()
    run.vote(request, BOB)
    start(run)
    airflow.do(lambda s: s.execute(_vote(run, request)))

    def ask(session: Session) -> object:
        row = session.get_one(RequestRow, request.id)
        return retally.still_satisfied(session, row, judging.membership_now(), airflow.now)

    with pytest.raises(LedgerError):
        airflow.do(ask)
    with pytest.raises(LedgerError):
        open_sink(run)
    assert run.grant().state == "live"


def test_a_grant_and_a_policy_that_nobody_entered_are_found(
    airflow: Airflow, capsys: pytest.CaptureFixture[str]
) -> None:
    run = airflow.a_run()
    run.approve()
    cli.verify(Namespace())
    assert "ledger verifies" in capsys.readouterr().out

    def write(session: Session) -> None:
        session.add(PolicyRow(digest="sha256:theirs", text="", stored_at=airflow.now))
        session.execute(update(ActivePolicyRow).values(digest="sha256:theirs"))
        session.execute(update(GrantRow).where(GrantRow.run_id == run.run_id).values(id="f" * 32))

    airflow.do(write)
    with pytest.raises(SystemExit) as ended:
        cli.verify(Namespace())
    assert ended.value.code == 1
    said = capsys.readouterr().out
    assert "not in the ledger: The policy in force is sha256:theirs" in said
    assert f"not in the ledger: Grant {'f' * 32}" in said


def test_whoever_has_no_seat_can_be_read_from_the_ledger_all_the_same(run: Run) -> None:
    request = run.ask()
    run.vote(request, DAVE)
    assert run.airflow.look(lambda s: votes.of_request(s, request.id)) == []
