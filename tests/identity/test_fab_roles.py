"""Members by FAB role, from the real tables of FAB on both databases."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from airflow_approvals.core.groups import Group
from airflow_approvals.identity.directory import resolve
from airflow_approvals.store import fab_users
from airflow_approvals.store.session import run_read
from tests.conftest import Database
from tests.identity import fab_scene
from tests.identity.test_directory import a_policy, auth_manager, fab_role


@pytest.fixture
def fab(empty_database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    auth_manager(monkeypatch, fab_scene.FAB)
    fab_scene.make_tables(empty_database)
    return empty_database


def test_fab_roles_give_active_users_by_id_and_name(fab: Database) -> None:
    bob = fab_scene.add_user(fab, "bob", "Owner")
    carol = fab_scene.add_user(fab, "carol", "Owner", by_group=True)
    fab_scene.add_user(fab, "gone", "Owner", active=False)
    fab_scene.add_user(fab, "other", "Viewer")
    found = resolve(a_policy(owners=fab_role("Owner"), nobody=fab_role("Missing")))
    assert found.groups == {"owners": {bob, "bob", carol, "carol"}, "nobody": frozenset()}
    assert found.unresolved == {}


def test_a_role_counts_only_as_long_as_the_login_is_young(fab: Database) -> None:
    now = datetime.now()
    fab_scene.add_user(fab, "young", "Owner", last_login=now - timedelta(minutes=5))
    fab_scene.add_user(fab, "old", "Owner", last_login=now - timedelta(hours=2))
    fab_scene.add_user(fab, "never", "Owner")
    fab_scene.add_user(fab, "future", "Owner", last_login=now + timedelta(hours=1))
    found = resolve(a_policy(bounded=fab_role("Owner", timedelta(hours=1)), free=fab_role("Owner")))
    people = {"young", "old", "never", "future"}
    assert found.groups["bounded"] & people == {"young"}
    assert found.groups["free"] >= people
    assert found.stale["bounded"] & people == people - {"young"}
    assert found.stale["free"] == frozenset()


def test_a_name_that_is_anothers_id_fills_nobody_elses_seat(fab: Database) -> None:
    fab_scene.add_user(fab, "bob", "Owner", key=7)
    fab_scene.add_user(fab, "7", "Viewer", key=8)
    fab_scene.add_user(fab, "9", "Owner", key=10)
    fab_scene.add_user(fab, "dave", "Viewer", key=9)
    assert resolve(a_policy(owners=fab_role("Owner"))).groups["owners"] == {"bob", "10"}


def test_a_listed_name_that_is_anothers_id_fills_no_seat(fab: Database) -> None:
    fab_scene.add_user(fab, "bob", "Viewer", key=7)
    fab_scene.add_user(fab, "7", "Viewer", key=8)
    fab_scene.add_user(fab, "1042", "Viewer", key=9)
    listed = resolve(a_policy(owners=Group.of("7", "8", "1042", "carol"))).groups["owners"]
    assert listed == {"8", "1042", "carol"}
    fab_scene.add_user(fab, "dave", "Viewer", key=1042)
    assert resolve(a_policy(owners=Group.of("1042", "carol"))).groups["owners"] == {"carol"}


def test_missing_fab_tables_leave_the_other_groups_alone(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth_manager(monkeypatch, fab_scene.FAB)
    found = resolve(a_policy(owners=fab_role("Owner"), listed=Group.of("bob")))
    assert found.groups == {"owners": frozenset(), "listed": {"bob"}}
    assert list(found.unresolved) == ["owners"]


def test_id_and_name_of_one_user_are_one_person(fab: Database) -> None:
    bob = fab_scene.add_user(fab, "bob", "Owner")
    found = resolve(a_policy(owners=fab_role("Owner"), listed=Group.of("bob", "carol")))
    assert found.people_in(["owners"]) == [frozenset({bob, "bob"})]
    assert set(found.people_in(["owners", "listed"])) == {frozenset({bob, "bob"}), frozenset({"carol"})}


def test_an_address_finds_active_users_in_whatever_case(fab: Database) -> None:
    bob = fab_scene.add_user(fab, "bob", "Owner", email="Bob@Example.com")
    fab_scene.add_user(fab, "gone", "Owner", active=False, email="bob@example.COM")
    fab_scene.add_user(fab, "bobby", "Owner", email="bobby@example.com")
    assert run_read(lambda s: fab_users.active_users_with_email(s, "bOB@example.com")) == {"bob": bob}
