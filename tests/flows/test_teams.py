"""Asking and deciding in Teams, through a real Airflow and Microsoft's side on the loopback."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from airflow_approvals.channels import teams_cards as cards
from tests.channels.teams_service import PEOPLE, TeamsService, press
from tests.flows.gated import Gated

pytestmark = pytest.mark.live


def _card(teams: TeamsService, request_id: str) -> tuple[tuple[str, str], dict[str, Any]] | None:
    try:
        return teams.card_of(request_id)
    except AssertionError:
        return None


def answer(gated: Gated, teams: TeamsService, activity: dict[str, Any]) -> dict[str, Any]:
    got = httpx.post(
        f"{gated.airflow.url()}/approvals/teams/messages",
        json=activity,
        headers={"Authorization": f"Bearer {teams.token()}"},
        trust_env=False,
        timeout=120,
    )
    assert got.status_code == 200, got.text
    return got.json()["value"]


def test_the_requester_is_refused_in_private_and_another_person_opens_the_gate(
    gated: Gated, teams: TeamsService
) -> None:
    run_id = gated.ask("plain")
    request = gated.request(run_id)
    place, card = gated.until(lambda: _card(teams, request["id"]), "the card stands in the channel")
    refused = answer(gated, teams, press(place, card, cards.APPROVE, PEOPLE["alice"], teams))
    assert "somebody else has to decide" in json.dumps(refused)
    assert gated.state("plain", run_id, "gate") == "awaiting_input"
    second = answer(gated, teams, press(place, card, cards.APPROVE, PEOPLE["bob"], teams))
    inputs = {"reason": "looked at the sample"}
    confirmed = press(place, second, cards.CONFIRM_APPROVE, PEOPLE["bob"], teams, inputs=inputs)
    assert "Approved by bob" in json.dumps(answer(gated, teams, confirmed))
    assert gated.finish("plain", run_id) == "success"
    gated.until(lambda: "Approved by bob" in json.dumps(teams.card_of(request["id"])), "the card is closed")
    votes = gated.request(run_id)["votes"]
    assert [(vote["person"], vote["channel"]) for vote in votes] == [("bob", "teams")]
    assert len(gated.entries(kind="vote_refused", request=request["id"], code="self_approval")) == 1
