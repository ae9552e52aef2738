"""Authors of a gate's code: from the DAG version that runs, over the bundle's history, to the request."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.models.dag_version import DagVersion
from sqlalchemy.orm import Session

from airflow_approvals.control import code_authors, registration
from airflow_approvals.control.requesters import Requesters
from airflow_approvals.core.models import Refusal
from airflow_approvals.store.tables import RequestRow
from tests.control.airflow_database import BUNDLE
from tests.control.airflow_scene import BOB, CAROL, Airflow, Run
from tests.control.git_repository import Repository


def parse_git_authors(monkeypatch: pytest.MonkeyPatch, known: dict[str, str]) -> None:
    """Let every policy name these authors."""
    from dataclasses import replace

    from airflow_approvals.store import policies

    read: Any = policies.read_policy_text
    monkeypatch.setattr(policies, "_PARSED", {})
    monkeypatch.setattr(policies, "read_policy_text", lambda *a: replace(read(*a), git_authors=known))


@pytest.fixture
def repository(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", str(airflow.folder))
    parse_git_authors(monkeypatch, {"Carol@Example.com": "carol"})
    bare = airflow.folder / BUNDLE / "bare"
    bare.parent.mkdir()
    return Repository(bare)


def at_version(run: Run, version: str | None) -> Run:
    """Let the run's DAG be of that version of the bundle."""

    def work(session: Session) -> None:
        found = session.get_one(DagVersion, run.task().dag_version_id)
        found.bundle_version = version

    run.airflow.do(work)
    return run


def ask(run: Run) -> RequestRow:
    """Park the gate and register as the dispatcher does."""
    request_id = registration.register_now(run.park())
    assert request_id is not None
    return run.request(request_id)


def set_of(request: RequestRow) -> Requesters:
    return Requesters.from_text(request.requesters)


def test_an_author_whom_the_policy_names_is_barred_and_one_it_does_not_is_named(
    airflow: Airflow, repository: Repository
) -> None:
    repository.commit("carol@example.com")
    run = at_version(airflow.a_run(), repository.commit("stranger@example.com"))
    request = ask(run)
    assert set_of(request).names == {"alice", "carol"}
    assert set_of(request).notes == (
        "Code by stranger@example.com, whom the policy's identities.git does not name: they are not barred.",
    )
    answer = run.vote(request, CAROL)
    assert isinstance(answer, Refusal)
    assert answer.code == "self_approval"
    assert run.grant() is None
    (entry,) = airflow.entries(kind="request_registered", run_id=run.run_id)
    assert entry["details"]["requesters_unknown"] == list(set_of(request).notes)
    assert "stranger@example.com" in run.inbox().body.replace("\\", "")


def test_a_commit_without_an_address_is_told_and_keeps_no_gate_from_being_registered(
    airflow: Airflow, repository: Repository
) -> None:
    trailer = "a change\n\nCo-authored-by: Carol <carol@example.com>"
    run = at_version(airflow.a_run(), repository.commit("", message=trailer))
    request = ask(run)
    assert set_of(request).names == {"alice", "carol"}
    assert set_of(request).notes == (
        "Code by (no address), whom the policy's identities.git does not name: they are not barred.",
    )


def test_once_a_version_is_approved_its_authors_are_not_barred_from_the_next(
    airflow: Airflow, repository: Repository
) -> None:
    first = at_version(airflow.a_run(), repository.commit("carol@example.com"))
    request = ask(first)
    assert "carol" in set_of(request).names
    first.vote(request, BOB)
    second = at_version(airflow.a_run(), repository.commit("stranger@example.com"))
    assert set_of(ask(second)).names == {"alice"}


def test_a_rejected_version_is_not_approved(airflow: Airflow, repository: Repository) -> None:
    from airflow_approvals.core.models import Verdict

    first = at_version(airflow.a_run(), repository.commit("carol@example.com"))
    first.vote(ask(first), BOB, Verdict.REJECT)
    second = at_version(airflow.a_run(), repository.commit("stranger@example.com"))
    assert "carol" in set_of(ask(second)).names


def test_who_wrote_code_did_not_start_a_scheduled_run(airflow: Airflow, repository: Repository) -> None:
    run = at_version(airflow.a_run(user=None), repository.commit("carol@example.com"))
    request = ask(run)
    assert set_of(request).names == {"carol"}
    assert request.unattributed


@pytest.mark.parametrize("version", [None, "0" * 40])
def test_what_cannot_be_read_is_said(airflow: Airflow, repository: Repository, version: str | None) -> None:
    repository.commit("carol@example.com")
    (note,) = set_of(ask(at_version(airflow.a_run(), version))).notes
    assert note.startswith("Code authors unknown: ")


def test_many_strangers_are_counted() -> None:
    from airflow_approvals.seams.git_history import Authors

    found = Authors(frozenset(f"{n:02}@example.com" for n in range(12)), frozenset(), cut=True)
    first, second = code_authors._notes(code_authors.Question("b", "v", None, {}), found)
    assert "09@example.com and 2 more, whom" in first
    assert second.startswith("Code authors unknown beyond")


def test_history_is_read_while_no_transaction_is_open(
    airflow: Airflow, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite a second writer gets through only when nobody holds the lock."""
    run = at_version(airflow.a_run(), repository.commit("carol@example.com"))
    read = code_authors.git_history.authors

    def reading(*arguments: Any) -> Any:
        airflow.add_connection("written_meanwhile")
        return read(*arguments)

    monkeypatch.setattr(code_authors.git_history, "authors", reading)
    assert "carol" in set_of(ask(run)).names
