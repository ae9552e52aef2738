"""Okta's groups fill seats: a real api-server with FAB's OAuth, and an Okta that nobody here wrote.

No scheduler runs: the gate's rows are put into the server's own database, and all that people do
goes through HTTP, from the login page to the vote.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from airflow.providers.fab.auth_manager.models import Role, User
from sqlalchemy import update

from airflow_approvals.config.policy_file import read_policy_text
from airflow_approvals.store import policies
from tests.control.airflow_database import initialise, new_engine, scene_of
from tests.control.airflow_scene import Airflow
from tests.identity import fab_scene
from tests.live.airflow_processes import START_SECONDS, AirflowDeployment
from tests.live.okta_emulator import CLIENT_ID, CLIENT_SECRET, GROUP, OktaEmulator

pytestmark = pytest.mark.live
REQUESTS = "/approvals/api/v1/requests"
ROLE = "DataOwner"
POLICY = """
version: 1
sinks:
  - {id: sink-a, connection: sink_a, uri_prefix: "file:///srv/sink", assurance: run-bound}
groups:
  owners: {fab_role: DataOwner, max_login_age: PT1H}
rules:
  - id: two-owners
    when: {sink: sink-a, action: export}
    effect: require
    seats: [{group: owners, count: 2}]
    channels: {ui: decide}
    request_ttl: PT1H
    grant_ttl: PT1H
"""
SERVER = """
from flask_appbuilder.const import AUTH_OAUTH

AUTH_TYPE = AUTH_OAUTH
AUTH_ROLES_SYNC_AT_LOGIN = True
AUTH_ROLES_MAPPING = {mapping!r}
AUTH_USER_REGISTRATION = True
AUTH_USER_REGISTRATION_ROLE = "User"
OAUTH_PROVIDERS = [
    {{"name": "okta", "icon": "fa-circle-o", "token_key": "access_token", "remote_app": {remote!r}}}
]
"""


@dataclass(frozen=True)
class World:
    """A server, its Okta, and words for people who sign in at both."""

    deployment: AirflowDeployment
    okta: OktaEmulator
    scene: Airflow

    @contextmanager
    def signed_in(self, name: str) -> Iterator[httpx.Client]:
        """Come from Airflow's login page, choose the person at Okta, come back with a session."""
        own = self.deployment.url()
        with httpx.Client(base_url=own, follow_redirects=True, timeout=30, trust_env=False) as browser:
            page = browser.get("/auth/login/okta")
            assert page.url.host == "localhost", page.text[:500]
            landed = self.okta.choose(browser, page, name)
            assert str(landed.url).startswith(own), landed.text[:500]
            assert "_token" in browser.cookies
            yield browser

    def vote(self, browser: httpx.Client, request_id: str) -> httpx.Response:
        proof = {"X-Approvals-Request": "1", "Origin": self.deployment.url()}
        body = {"verdict": "approve", "reason": "looked"}
        return browser.post(f"{REQUESTS}/{request_id}/votes", json=body, headers=proof)

    def last_login(self, name: str, ago: timedelta) -> None:
        """Let the person's login be so long ago, as FAB notes it: local time, without a zone."""
        user = update(User).where(User.username == self.okta.username(name))
        self.scene.do(lambda s: s.execute(user.values(last_login=datetime.now() - ago)))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("okta")
    deployment = AirflowDeployment(home, config=_options(home))
    back = f"{deployment.url()}/auth/oauth-authorized/okta"
    with OktaEmulator(back, "bob", "carol") as okta:
        (home / "webserver_config.py").write_text(_server(okta))
        engine = new_engine(f"sqlite:///{home / 'airflow.db'}")
        try:
            for scene in scene_of(engine, home):
                initialise(engine)
                _furnish(scene)
                deployment.start_api_servers()
                deployment.wait_for(deployment.answers, START_SECONDS, "the api-server to answer")
                yield World(deployment, okta, scene)
        finally:
            deployment.kill_api_server()
            engine.dispose()


def _options(home: Path) -> dict[str, str]:
    return {
        "core.auth_manager": fab_scene.FAB,
        "approvals.protected_connections": "sink_a",
        "approvals.signing_key_file": str(home / "signing.pem"),
        # The scene registers what it parks.
        "approvals.dispatcher_enabled": "False",
    }


def _server(okta: OktaEmulator) -> str:
    remote: dict[str, Any] = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "api_base_url": f"{okta.issuer}/v1/",
        "server_metadata_url": f"{okta.issuer}/.well-known/openid-configuration",
        "client_kwargs": {"scope": "openid profile email groups"},
    }
    return SERVER.format(mapping={GROUP: [ROLE]}, remote=remote)


def _furnish(scene: Airflow) -> None:
    """The role that Okta's group becomes, policy, key and Connection."""
    scene.do(lambda s: s.add(Role(name=ROLE)))
    policy = read_policy_text(POLICY, "the test's policy")
    scene.do(lambda s: policies.store_and_activate(s, policy, actor="tests", now=scene.now))
    scene.add_key()
    scene.add_connection()


def test_an_okta_group_fills_a_seat_for_as_long_as_okta_says_so(world: World) -> None:
    """In the group the vote counts; out of it, and signed in again, it does not, nor does an old one."""
    run, later = world.scene.a_run(), world.scene.a_run()
    request, next_request = run.ask(), later.ask()
    with world.signed_in("bob") as bob, world.signed_in("carol") as carol:
        assert world.vote(bob, request.id).json()["state"] == "pending"
        decided = world.vote(carol, request.id)
        assert (decided.status_code, decided.json()["state"]) == (200, "approved"), decided.text
        assert world.vote(carol, next_request.id).json()["state"] == "pending"
    cast = world.scene.entries(kind="vote_cast", run_id=run.run_id)
    people = {(entry["details"]["name"], entry["channel"]) for entry in cast}
    assert people == {(world.okta.username(name), "ui") for name in ("bob", "carol")}
    world.okta.leave_group("carol")
    with world.signed_in("carol") as carol:
        refused = world.vote(carol, next_request.id)
        assert (refused.status_code, refused.json()["code"]) == (403, "not_eligible"), refused.text
        assert "last login" not in refused.json()["detail"]
    with world.signed_in("bob") as bob:
        one_missing = world.vote(bob, next_request.id).json()
        assert (one_missing["state"], "1 of owners" in one_missing["sentence"]) == ("pending", True)


def test_a_login_that_is_too_old_counts_again_after_the_next(world: World) -> None:
    request = world.scene.a_run().ask()
    with world.signed_in("bob") as bob:
        world.last_login("bob", timedelta(hours=1, seconds=1))
        refused = world.vote(bob, request.id)
        assert (refused.status_code, refused.json()["code"]) == (403, "not_eligible"), refused.text
        assert "Your last login is too long ago for owners; sign out of Airflow" in refused.json()["detail"]
    with world.signed_in("bob") as bob:
        assert world.vote(bob, request.id).json()["state"] == "pending"
