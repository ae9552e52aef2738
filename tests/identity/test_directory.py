"""Members of groups, from FAB's real tables on both databases and from the other sources."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from airflow_approvals.core.groups import Group, GroupSource
from airflow_approvals.core.models import Person, Refusal
from airflow_approvals.core.policy import Policy
from airflow_approvals.identity import slack_usergroups, users
from airflow_approvals.identity.directory import Membership, resolve
from tests.conftest import Database

SIMPLE = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
BOB = Person("7", "bob")
OTHER = "airflow.api_fastapi.auth.managers.base_auth_manager.BaseAuthManager"


def a_policy(team: str | None = "T1", **groups: Group) -> Policy:
    return Policy("digest", "", False, {}, groups, team, {"U1": "bob", "U2": "carol"}, ())


def fab_role(value: str, age: timedelta | None = None) -> Group:
    return Group(GroupSource.FAB_ROLE, value=value, max_login_age=age)


def auth_manager(patch: pytest.MonkeyPatch, path: str) -> None:
    patch.setenv("AIRFLOW__CORE__AUTH_MANAGER", path)


def test_simple_roles_come_from_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    auth_manager(monkeypatch, SIMPLE)
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "alice:admin,bob:op,bob:admin")
    found = resolve(a_policy(admins=Group(GroupSource.SIMPLE_ROLE, value="admin"), f=fab_role("Owner")))
    assert found.groups == {"admins": {"alice"}, "f": frozenset()}
    assert found.unresolved == {"f": "It is a role of the FAB auth manager, but Airflow runs another one."}


def test_people_of_an_auth_manager_without_a_list_decide_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    auth_manager(monkeypatch, OTHER)
    assert users.find_person("bob") == users.PAGE_ONLY
    assert "approvals page" in users.PAGE_ONLY.sentence
    assert "s" in resolve(a_policy(s=Group(GroupSource.SIMPLE_ROLE, value="admin"))).unresolved


def test_a_refusal_says_which_group_could_not_be_asked() -> None:
    found = Membership("digest", {"owners": frozenset()}, {"owners": "Slack is down."})
    refusal = Refusal("not_eligible", "No seat.", 403)
    told = found.explain(refusal, BOB, {"owners"})
    assert told is not None
    assert "owners: Slack is down." in told.sentence
    assert found.explain(refusal, BOB, {"other"}) == refusal


def test_only_whose_own_login_is_too_old_is_told_so() -> None:
    found = Membership("digest", {"owners": frozenset()}, stale={"owners": frozenset({"7", "bob"})})
    refusal = Refusal("not_eligible", "No seat.", 403)
    told = found.explain(refusal, BOB, {"owners"})
    assert told is not None
    assert told.sentence == (
        "No seat. Your last login is too long ago for owners; "
        "sign out of Airflow, sign in again and decide then."
    )
    assert found.explain(refusal, Person("9", "carol"), {"owners"}) == refusal


class _Slack(ThreadingHTTPServer):
    """Answers usergroups.users.list as Slack documents it."""

    calls = 0
    answer: dict[str, object]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, _Slack)
        assert self.path.endswith("/usergroups.users.list")
        server.calls += 1
        body = json.dumps(server.answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def slack(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[_Slack]:
    server = _Slack(("127.0.0.1", 0), _Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text("xoxb-test")
    options = {
        "bot_token_file": str(token),
        "channel": "C123",
        "api_url": f"http://127.0.0.1:{server.server_port}/",
    }
    for name, value in options.items():
        monkeypatch.setenv(f"AIRFLOW__APPROVALS__SLACK_{name.upper()}", value)
    slack_usergroups._cache.clear()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
def test_a_slack_user_group_gives_its_mapped_members_and_is_asked_once(slack: _Slack) -> None:
    slack.answer = {"ok": True, "users": ["U1", "U9"]}
    policy = a_policy(owners=Group(GroupSource.SLACK_USERGROUP, value="S1"))
    assert resolve(policy).groups == resolve(policy).groups == {"owners": {"bob"}}
    assert slack.calls == 1


@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
def test_an_answer_that_is_too_old_is_not_used_when_slack_fails(
    slack: _Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    slack.answer = {"ok": True, "users": ["U1"]}
    policy = a_policy(owners=Group(GroupSource.SLACK_USERGROUP, value="S1"))
    assert resolve(policy).groups == {"owners": {"bob"}}
    monkeypatch.setattr(slack_usergroups, "CACHE_SECONDS", 0.0)
    slack.answer = {"ok": False, "error": "missing_scope"}
    found = resolve(policy)
    assert found.groups == {"owners": frozenset()}
    assert "missing_scope" in found.unresolved["owners"]


def test_without_slack_a_user_group_is_unresolved() -> None:
    found = resolve(a_policy(team=None, owners=Group(GroupSource.SLACK_USERGROUP, value="S1")))
    assert found.unresolved == {"owners": "It is a Slack user group, but Slack is not set up."}
