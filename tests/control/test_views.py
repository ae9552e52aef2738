"""The facts of a request: who may decide, wherever the members of a group come from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_approvals.config.settings import Settings
from airflow_approvals.control import judging, registration, views
from airflow_approvals.identity.directory import Membership
from airflow_approvals.store.tables import RequestRow
from tests.control.airflow_scene import POLICY, Airflow, Run

FROM_ROLE = POLICY.replace("owners: {users: [bob, carol, alice]}", "owners: {fab_role: Owner}")


@pytest.fixture
def run(airflow: Airflow) -> Run:
    airflow.activate(FROM_ROLE)
    return airflow.a_run(user="alice")


def named(run: Run, request_id: str, members: Membership | None) -> tuple[str, ...]:
    return run.airflow.look(lambda s: views.request_facts(s, request_id, members)).who_may_decide


def members_of(run: Run) -> Membership:
    """The groups as FAB would tell of them."""
    names = [frozenset({"7", "bob"}), frozenset({"8", "alice"}), frozenset({"9", "carol"})]
    return Membership(
        judging.membership_now().policy,
        {"owners": frozenset().union(*names)},
        aliases=frozenset(names),
    )


def test_members_of_a_role_are_named_once_and_requesters_by_no_name(run: Run) -> None:
    assert named(run, run.ask().id, members_of(run)) == ("bob", "carol")


def test_a_group_that_was_not_asked_or_cannot_be_is_named_itself(run: Run) -> None:
    request = run.ask()
    assert named(run, request.id, None) == ("whoever is in owners",)
    silent = replace(members_of(run), groups={"owners": frozenset()}, unresolved={"owners": "It is down."})
    assert named(run, request.id, silent) == ("whoever is in owners",)
    of_another_policy = replace(members_of(run), policy="sha256:other")
    assert named(run, request.id, of_another_policy) == ("whoever is in owners",)


def test_airflows_page_names_them_from_the_registration_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    known = members_of(run)
    monkeypatch.setattr(judging, "membership_now", lambda: known)
    assert registration.register_now(run.park()) is not None
    assert "| **May decide** | bob, carol |" in run.inbox().body


@pytest.mark.parametrize(("letters", "path"), [(20, "/dags/"), (250, "/required_actions")])
def test_an_address_fits_into_what_slack_takes_however_long_the_ids_are(
    run: Run, letters: int, path: str
) -> None:
    row = RequestRow(dag_id="導" * letters, run_id="r:1", task_id="門" * letters, map_index=-1)
    address = views.page_url(row)
    assert address.startswith(f"{Settings.load().base_url}{path}")
    assert len(address) < 2900
