"""Whose a Slack account is: by map, link or address, and never a guest's or a stranger's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from airflow_approvals.channels import slack_desk
from airflow_approvals.channels.slack_desk import TIMEOUT_SECONDS
from airflow_approvals.config.policy_file import read_policy_text
from airflow_approvals.core.models import Refusal
from airflow_approvals.identity import slack_accounts, slack_profiles
from airflow_approvals.identity.slack_accounts import Account, Owner, Tie, accounts_of, owner_of, voters
from airflow_approvals.store import policies
from airflow_approvals.store.chat_tables import AccountLinkRow
from airflow_approvals.store.session import run_read, run_transaction
from tests.conftest import Database
from tests.identity import fab_scene
from tests.live.slack_emulator import SlackEmulator
from tests.live.slack_proxy import SlackProxy

#: Looking things up is the same on PostgreSQL; what is not has tests of its own there.
pytestmark = pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)

POLICY = """
version: 1
sinks:
  - {id: sink-a, connection: sink_a, uri_prefix: "file:///srv/sink", assurance: run-bound}
groups: {owners: {users: [alice, bob, carol]}}
identities:
  slack: {team: TEAM, users: {MAPPED: bob}, email: {domains: [example.com]}}
rules:
  - id: one
    when: {sink: sink-a}
    effect: require
    seats: [{group: owners, count: 1}]
    channels: {ui: decide, slack: decide}
    request_ttl: PT1H
    grant_ttl: PT30M
"""
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def emulator() -> Iterator[SlackEmulator]:
    with SlackEmulator() as running:
        yield running


@pytest.fixture
def proxy(emulator: SlackEmulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SlackProxy]:
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(emulator.token)
    with SlackProxy(emulator.url) as between:
        monkeypatch.setenv("AIRFLOW__APPROVALS__SLACK_BOT_TOKEN_FILE", str(token))
        monkeypatch.setenv("AIRFLOW__APPROVALS__SLACK_API_URL", between.url)
        # Only one test is about how long Slack is waited for.
        monkeypatch.setattr(slack_desk, "TIMEOUT_SECONDS", 30)
        slack_profiles.forget()
        yield between


class Scene:
    """A policy that maps bob's account and matches addresses; links and FAB users to add."""

    def __init__(self, database: Database, emulator: SlackEmulator, proxy: SlackProxy) -> None:
        self.database, self.users, self.team, self.proxy = database, emulator.users, emulator.team, proxy
        self.activate()

    def activate(self, **changes: str) -> None:
        text = POLICY.replace("TEAM", self.team).replace("MAPPED", self.users["bob"])
        for before, after in changes.items():
            text = text.replace(before, after)
        policy = read_policy_text(text, "the test's policy")
        run_transaction(lambda s: policies.store_and_activate(s, policy, actor="tests", now=NOW))

    def link(self, account: str, person: str, *, votes_from: datetime | None = NOW) -> None:
        row = AccountLinkRow(
            channel="slack",
            team=self.team,
            account=self.users[account],
            person_id=f"id-{person}",
            person_name=person,
            standing=True,
            linked_at=NOW,
            votes_from=votes_from,
        )
        run_transaction(lambda s: s.add(row))

    def user(self, name: str, *roles: str, **more: Any) -> str:
        """Add a user of FAB and return the id."""
        fab_scene.make_tables(self.database)
        return fab_scene.add_user(self.database, name, *roles, **more)

    def confirmed(self, account: str, **more: Any) -> None:
        """Let Slack say that the account's address is confirmed."""
        self.proxy.people[self.users[account]] = {"is_email_confirmed": True, **more}

    def owner(self, account: str) -> Owner | Refusal:
        return owner_of(Account(self.team, self.users[account]))


@pytest.fixture
def scene(
    database: Database, emulator: SlackEmulator, proxy: SlackProxy, monkeypatch: pytest.MonkeyPatch
) -> Scene:
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", fab_scene.FAB)
    return Scene(database, emulator, proxy)


def test_the_map_says_whose_it_is(scene: Scene) -> None:
    assert scene.owner("bob") == Owner("bob", Tie.MAP)


def test_a_link_says_whose_it_is_and_what_id_they_have(scene: Scene) -> None:
    scene.link("carol", "carol")
    assert scene.owner("carol") == Owner("carol", Tie.LINK, "id-carol")


def test_nobody_says_whose_it_is(scene: Scene) -> None:
    assert scene.owner("viewer") == slack_accounts.NOT_LINKED


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"is_restricted": True}, slack_accounts.GUEST),
        ({"is_ultra_restricted": True}, slack_accounts.GUEST),
        ({"is_restricted": "yes"}, slack_accounts.GUEST),
        ({"is_stranger": True}, slack_accounts.STRANGER),
        ({"is_bot": True}, slack_accounts.BOT),
        ({"is_workflow_bot": True}, slack_accounts.BOT),
        ({"deleted": True}, slack_accounts.DELETED),
        ({"team_id": "T0OTHER"}, slack_accounts.FOREIGN_WORKSPACE),
        ({"team_id": None}, slack_accounts.FOREIGN_WORKSPACE),
        ({"id": "U0OTHER"}, slack_accounts.CANNOT_ASK),
    ],
)
@pytest.mark.parametrize("account", ["bob", "carol"])
def test_what_slack_says_goes_before_map_link_and_address(
    scene: Scene, account: str, said: dict[str, Any], expected: Refusal
) -> None:
    scene.link("carol", "carol")
    scene.proxy.people[scene.users[account]] = said
    assert scene.owner(account) == expected


def test_when_slack_cannot_be_asked_the_account_is_nobodys(scene: Scene) -> None:
    scene.proxy.down.add("users.info")
    assert scene.owner("bob") == slack_accounts.CANNOT_ASK


def test_a_slack_that_hangs_is_not_waited_for(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack_desk, "TIMEOUT_SECONDS", TIMEOUT_SECONDS)
    scene.proxy.slow["users.info"] = 60.0
    started = datetime.now(UTC)
    assert scene.owner("bob") == slack_accounts.CANNOT_ASK
    assert datetime.now(UTC) - started < timedelta(seconds=20)


def test_slack_is_asked_once_in_five_minutes_and_a_failure_is_not_kept(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.proxy.down.add("users.info")
    assert scene.owner("bob") == slack_accounts.CANNOT_ASK
    scene.proxy.down.clear()
    assert scene.owner("bob") == scene.owner("bob") == Owner("bob", Tie.MAP)
    assert len(scene.proxy.asked("users.info")) == 1
    scene.proxy.people[scene.users["bob"]] = {"deleted": True}
    monkeypatch.setattr(slack_profiles, "CACHE_SECONDS", 0.0)
    assert scene.owner("bob") == slack_accounts.DELETED


def test_another_workspace_is_not_even_asked_about(scene: Scene) -> None:
    assert owner_of(Account("T0OTHER", scene.users["bob"])) == slack_accounts.FOREIGN_WORKSPACE
    assert scene.proxy.asked("users.info") == []


def test_without_a_workspace_in_the_policy_nobody_owns_anything(scene: Scene) -> None:
    text = POLICY.split("identities:", maxsplit=1)[0] + "rules:" + POLICY.split("rules:")[1]
    policy = read_policy_text(text.replace(", slack: decide", ""), "the test's policy")
    run_transaction(lambda s: policies.store_and_activate(s, policy, actor="tests", now=NOW))
    assert scene.owner("bob") == slack_accounts.NO_WORKSPACE
    assert run_read(lambda s: accounts_of(s, {"bob"})) == {}


@pytest.mark.parametrize(
    ("account", "person"),
    [("bob", "carol"), ("carol", "bob")],
    ids=["one account, two people", "one person, two accounts"],
)
def test_where_map_and_link_differ_the_account_is_nobodys(scene: Scene, account: str, person: str) -> None:
    scene.link(account, person)
    assert scene.owner(account) == slack_accounts.CONFLICT
    policy = run_read(policies.active_policy)
    assert policy is not None
    assert scene.users[account] not in run_read(lambda s: voters(s, policy))


def test_a_link_that_waits_does_not_vote_but_bars(scene: Scene) -> None:
    scene.link("carol", "carol", votes_from=None)
    scene.link("alice", "alice", votes_from=datetime.now(UTC) + timedelta(hours=1))
    assert scene.owner("carol") == slack_accounts.WAITS_FOR_SOMEBODY
    assert scene.owner("alice") == slack_accounts.COOLING_DOWN
    found = run_read(lambda s: accounts_of(s, {"id-carol", "alice", "bob"}))
    assert found == {scene.users[name]: name for name in ("alice", "bob", "carol")}
    policy = run_read(policies.active_policy)
    assert policy is not None
    assert run_read(lambda s: voters(s, policy)) == {scene.users["bob"]: "bob"}


def test_a_confirmed_address_of_one_active_user_says_whose_it_is(scene: Scene) -> None:
    key = scene.user("carol")
    scene.confirmed("carol", profile={"email": "Carol@Example.com"})
    assert scene.owner("carol") == Owner("carol", Tie.EMAIL, key)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"is_email_confirmed": False}, slack_accounts.NOT_LINKED),
        ({"is_email_confirmed": "true"}, slack_accounts.NOT_LINKED),
        ({}, slack_accounts.NOT_LINKED),
        ({"is_email_confirmed": True, "profile": {"email": "carol@other.com"}}, slack_accounts.NOT_LINKED),
        (
            {"is_email_confirmed": True, "profile": {"email": "carol@sub.example.com"}},
            slack_accounts.NOT_LINKED,
        ),
        ({"is_email_confirmed": True, "profile": {"email": ""}}, slack_accounts.NOT_LINKED),
        ({"is_email_confirmed": True, "profile": {"email": 7}}, slack_accounts.NOT_LINKED),
        ({"is_email_confirmed": True, "profile": {"email": "cärol@example.com"}}, slack_accounts.NOT_LINKED),
        ({"is_email_confirmed": True, "profile": {"email": "eve@example.com"}}, slack_accounts.AMBIGUOUS),
        ({"is_email_confirmed": True, "is_restricted": True}, slack_accounts.GUEST),
    ],
)
def test_any_other_address_says_nothing(scene: Scene, said: dict[str, Any], expected: Refusal) -> None:
    scene.user("carol")
    scene.proxy.people[scene.users["carol"]] = said
    assert scene.owner("carol") == expected


def test_a_link_that_the_accounts_address_contradicts_makes_it_nobodys(scene: Scene) -> None:
    scene.user("requester", "Owner", email="alice@example.com")
    scene.link("alice", "victim")
    scene.confirmed("alice")
    assert scene.owner("alice") is slack_accounts.CONFLICT


def test_addresses_count_only_where_the_policy_lists_their_domain(scene: Scene) -> None:
    scene.user("carol")
    scene.confirmed("carol")
    scene.activate(**{", email: {domains: [example.com]}": ""})
    assert scene.owner("carol") == slack_accounts.NOT_LINKED


def test_an_address_of_two_people_or_of_nobody_active_says_nothing(scene: Scene) -> None:
    scene.user("gone", active=False, email="carol@example.com")
    scene.confirmed("carol")
    assert scene.owner("carol") == slack_accounts.AMBIGUOUS
    key = scene.user("carol", email="CAROL@example.com")
    assert scene.owner("carol") == Owner("carol", Tie.EMAIL, key)
    scene.user("carola", email="Carol@Example.COM")
    assert scene.owner("carol") == slack_accounts.AMBIGUOUS


def test_somebody_who_has_an_account_already_gets_no_second_one_by_address(scene: Scene) -> None:
    scene.user("bob")
    scene.confirmed("carol", profile={"email": "bob@example.com"})
    assert scene.owner("carol") == slack_accounts.CONFLICT
    key = scene.user("alice")
    scene.confirmed("viewer", profile={"email": "alice@example.com"})
    assert scene.owner("viewer") == Owner("alice", Tie.EMAIL, key)
    scene.link("alice", "alice")
    assert scene.owner("viewer") == slack_accounts.CONFLICT


@pytest.mark.parametrize(("account", "person"), [("carol", "id-somebody"), ("viewer", "")])
def test_who_or_what_ever_had_a_link_is_not_found_by_address(scene: Scene, account: str, person: str) -> None:
    """Whoever administers Airflow can write carol's name beside the address of their own account."""
    key = scene.user("carol")
    scene.confirmed("carol")
    scene.link(account, "carol")
    ended = update(AccountLinkRow).values(standing=None, person_id=person or key, ended_at=datetime.now(UTC))
    run_transaction(lambda s: s.execute(ended))
    assert scene.owner("carol") == slack_accounts.CONFLICT


def test_an_auth_manager_without_addresses_matches_none(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.identity.test_directory import SIMPLE

    scene.user("carol")
    scene.confirmed("carol")
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", SIMPLE)
    assert scene.owner("carol") == slack_accounts.NOT_LINKED
