"""A gate that is asked about in Teams: real tables and a real app, and Microsoft's side on the loopback."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi.testclient import TestClient

from airflow_approvals.api.app import create_app
from airflow_approvals.api.teams import _key_ring
from airflow_approvals.channels import teams_cards as cards
from airflow_approvals.channels.teams_activity import parse_activity, parse_press
from airflow_approvals.chat import messages, teams_forms, teams_messages
from airflow_approvals.config.settings import Settings
from airflow_approvals.control import teams_media
from airflow_approvals.control.votes import of_request
from airflow_approvals.store.tables import InboxRow, OutboxRow, RequestRow
from tests.channels.teams_service import (
    APP_ID,
    CHANNEL,
    PASSWORD,
    PEOPLE,
    TENANT,
    TeamsService,
    press,
    teams_service,
)
from tests.control.airflow_scene import POLICY, Airflow, Run, an_ask

PATH = "/teams/messages"
USERS = "alice:admin,bob:user,carol:user,dave:user,viewer:viewer"
LINKED = ("alice", "bob", "carol", "viewer")


def policy(*, channels: str = "ui: decide, api: decide, teams: decide", more: str = "", **linked: str) -> str:
    """The tests' policy with accounts of Teams; ``linked`` are further ones."""
    people = {
        **{PEOPLE[name]: name for name in LINKED},
        **{PEOPLE[who]: name for who, name in linked.items()},
    }
    users = ", ".join(f"{oid}: {name}" for oid, name in people.items())
    text = POLICY.replace("channels: {ui: decide, api: decide}", f"channels: {{{channels}}}{more}")
    return f"{text}identities:\n  teams: {{tenant: {TENANT}, users: {{{users}}}}}\n"


@dataclass
class TeamsScene:
    """Words for asking and answering."""

    airflow: Airflow
    service: TeamsService
    client: TestClient

    def asked(self, run: Run | None = None, **ask: Any) -> RequestRow:
        """Ask, and deliver the card."""
        request = (run or self.airflow.a_run(user="alice")).ask(an_ask(**ask) if ask else None)
        # A call that failed on a busy machine is made again two seconds later.
        for _ in range(200):
            messages.deliver()
            if self.service.has_card(request.id):
                return request
            time.sleep(0.05)
        raise AssertionError(f"no card about {request.id}: {[vars(row) for row in self.outbox(request)]}")

    def card(self, request: RequestRow) -> dict[str, Any]:
        return self.service.card_of(request.id)[1]

    def activity(self, request: RequestRow, verb: str, who: str, **changes: Any) -> dict[str, Any]:
        place, card = self.service.card_of(request.id)
        if verb in cards.CONFIRMS:
            card = {"actions": [self.form(request, verb, who)]}
        return press(place, card, verb, PEOPLE[who], self.service, **changes)

    def form(self, request: RequestRow, verb: str, who: str) -> dict[str, Any]:
        """Open a form for somebody, whoever that is, and return the button that confirms it."""
        place, card = self.service.card_of(request.id)
        asks = next(name for name, verdict in cards.ASKS.items() if verdict is cards.CONFIRMS[verb])
        first = next(one for one in card["actions"] if one["type"] == "Action.Execute")
        asked = press(place, {"actions": [{**first, "verb": asks}]}, asks, PEOPLE[who], self.service)
        asking = parse_press(parse_activity(json.dumps(asked).encode()))
        shown = teams_forms.opened(teams_messages._deps(Settings.load(), lambda: False), asking)
        return next(one for one in shown["actions"] if one.get("verb") == verb)

    def post(self, activity: dict[str, Any] | bytes, token: str | None = None) -> Any:
        body = activity if isinstance(activity, bytes) else json.dumps(activity).encode()
        bearer = self.service.token() if token is None else token
        return self.client.post(PATH, content=body, headers={"Authorization": f"Bearer {bearer}"})

    def press(self, request: RequestRow, verb: str, who: str, **changes: Any) -> dict[str, Any]:
        """Press a button, and return the invoke response."""
        answer = self.post(self.activity(request, verb, who, **changes))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def confirm(
        self, request: RequestRow, who: str, reason: str = "looked at it", **inputs: str
    ) -> dict[str, Any]:
        return self.press(request, cards.CONFIRM_APPROVE, who, inputs={"reason": reason, **inputs})

    def send(self, request: RequestRow, shown: dict[str, Any], who: str, **inputs: str) -> dict[str, Any]:
        """Confirm a form that an answer shows, and return the invoke response."""
        place, _ = self.service.card_of(request.id)
        verb = shown["value"]["actions"][0]["verb"]
        sent = press(place, shown["value"], verb, PEOPLE[who], self.service, inputs=inputs)
        answer = self.post(sent)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def state(self, request: RequestRow) -> str:
        return self.airflow.look(lambda s: s.get_one(RequestRow, request.id)).state

    def votes(self, request: Any) -> list[tuple[str, str, str]]:
        """Who voted what by which channel."""
        cast = self.airflow.look(lambda s: of_request(s, request.id))
        return [(vote.person.id, vote.verdict.value, vote.channel.value) for vote in cast]

    def inbox(self) -> list[InboxRow]:
        return self.airflow.look(lambda s: list(s.query(InboxRow).filter_by(channel="teams")))

    def outbox(self, request: RequestRow) -> list[OutboxRow]:
        return self.airflow.look(lambda s: list(s.query(OutboxRow).filter_by(request_id=request.id)))


def said(answer: dict[str, Any]) -> str:
    """All that an answer shows."""
    return json.dumps(answer["value"], ensure_ascii=False)


@contextmanager
def teams_scene(airflow: Airflow, patch: pytest.MonkeyPatch) -> Iterator[TeamsScene]:
    """Configure the bot, activate a policy that lets Teams decide, and open the app."""
    patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", USERS)
    password = airflow.folder / "teams-app-password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD)
    # The next service may get a port that an earlier one had, and knows nothing of its tokens.
    teams_media._bot.cache_clear()
    _key_ring.cache_clear()
    with teams_service() as service:
        options = {
            "teams_app_id": APP_ID,
            "teams_app_password_file": str(password),
            "teams_tenant": TENANT,
            "teams_conversation": CHANNEL,
            "teams_service_url": service.service_url,
            "teams_token_url": service.token_url,
            "teams_openid_url": service.openid_url,
        }
        for name, value in options.items():
            airflow.conf(name, value)
        airflow.activate(policy())
        yield TeamsScene(airflow, service, TestClient(create_app(), raise_server_exceptions=False))
