"""The second step in Teams is bound to what it showed, and asks for what the rule asks for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from airflow_approvals.channels import teams_cards as cards
from airflow_approvals.control.votes import of_request
from airflow_approvals.store.chat_tables import ChatFormRow
from airflow_approvals.store.tables import RequestRow
from tests.channels.teams_service import PEOPLE, press
from tests.control.airflow_scene import Airflow
from tests.control.teams_scene import TeamsScene, policy, said, teams_scene

TICKET = '\n    ticket: "OPS-[0-9]{1,5}"'
TWO = policy().replace("count: 1", "count: 2")


@pytest.fixture
def teams(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> Iterator[TeamsScene]:
    with teams_scene(airflow, monkeypatch) as scene:
        yield scene


def refusals(teams: TeamsScene, request: RequestRow) -> list[str]:
    entries = teams.airflow.entries(kind="vote_refused", request=request.id)
    return [entry["details"]["code"] for entry in entries]


def buttons(answer: dict[str, Any]) -> list[str]:
    return [action["title"] for action in answer["value"]["actions"]]


def change(teams: TeamsScene, request: RequestRow, **values: Any) -> None:
    teams.airflow.do(
        lambda s: s.execute(update(RequestRow).where(RequestRow.id == request.id).values(**values)) and None
    )


def test_a_request_that_changed_since_it_was_shown_is_not_voted_on(teams: TeamsScene) -> None:
    request = teams.asked()
    form = teams.press(request, cards.APPROVE, "bob")
    change(teams, request, expires_at=request.expires_at - timedelta(minutes=10))
    answer = teams.send(request, form, "bob", reason="looked")
    assert "The request has changed since this form was opened, so nothing was decided." in said(answer)
    assert buttons(answer)[:2] == ["Approve", "Reject"], "to see it as it stands"
    assert (teams.state(request), refusals(teams, request)) == ("pending", ["form_outdated"])
    teams.send(request, teams.press(request, cards.APPROVE, "bob"), "bob", reason="looked")
    assert teams.state(request) == "approved"


def test_so_is_one_whose_rule_changed(teams: TeamsScene) -> None:
    request = teams.asked()
    form = teams.press(request, cards.APPROVE, "bob")
    teams.airflow.activate(policy(more='\n    approver_reason: ".{5,}"'))
    teams.send(request, form, "bob", reason="looked")
    assert (teams.state(request), refusals(teams, request)) == ("pending", ["form_outdated"])


def test_somebody_elses_vote_makes_no_form_stale(teams: TeamsScene) -> None:
    teams.airflow.activate(TWO)
    request = teams.asked()
    form = teams.press(request, cards.APPROVE, "bob")
    teams.confirm(request, "carol")
    teams.send(request, form, "bob", reason="looked")
    assert teams.state(request) == "approved"


def test_a_form_counts_once_for_the_account_verdict_and_request_it_was_opened_for(teams: TeamsScene) -> None:
    teams.airflow.activate(TWO)
    request, other = teams.asked(), teams.asked()
    form = teams.press(request, cards.APPROVE, "bob")
    place, _ = teams.service.card_of(request.id)
    against = {**form["value"]["actions"][0], "verb": cards.CONFIRM_REJECT}
    elsewhere = json.loads(json.dumps(teams.form(other, cards.CONFIRM_APPROVE, "bob")))
    elsewhere["data"]["form"] = form["value"]["actions"][0]["data"]["form"]
    none = {**against, "verb": cards.CONFIRM_APPROVE, "data": {**against["data"]}}
    del none["data"]["form"]
    for sent in (
        press(place, form["value"], cards.CONFIRM_APPROVE, PEOPLE["carol"], teams.service),
        press(place, {"actions": [against]}, cards.CONFIRM_REJECT, PEOPLE["bob"], teams.service),
        press(place, {"actions": [none]}, cards.CONFIRM_APPROVE, PEOPLE["bob"], teams.service),
        press(
            teams.service.card_of(other.id)[0],
            {"actions": [elsewhere]},
            cards.CONFIRM_APPROVE,
            PEOPLE["bob"],
            teams.service,
        ),
    ):
        assert "was not opened for you" in said(teams.post(sent).json())
    assert refusals(teams, request) == ["unknown_form"] * 3
    assert refusals(teams, other) == ["unknown_form"]
    teams.send(request, form, "bob", reason="looked")
    assert "it counts once" in said(teams.send(request, form, "bob", reason="changed my mind"))
    (vote,) = teams.airflow.look(lambda s: of_request(s, request.id))
    assert (vote.person.name, vote.reason) == ("bob", "looked")


def test_a_form_that_was_open_for_too_long_is_opened_again(teams: TeamsScene) -> None:
    request = teams.asked()
    form = teams.press(request, cards.APPROVE, "bob")
    past = datetime.now(UTC) - timedelta(seconds=1)
    teams.airflow.do(lambda s: s.execute(update(ChatFormRow).values(expires_at=past)) and None)
    assert "open for too long" in said(teams.send(request, form, "bob", reason="looked"))
    assert (teams.state(request), refusals(teams, request)) == ("pending", ["form_too_old"])


def test_the_ticket_that_the_rule_asks_for_is_asked_for_checked_and_kept(teams: TeamsScene) -> None:
    teams.airflow.activate(policy(more=TICKET))
    request = teams.asked(ticket="OPS-1")
    shown = teams.press(request, cards.APPROVE, "bob")
    (box,) = [one for one in shown["value"]["body"] if one.get("id") == "ticket"]
    assert (box["isRequired"], box["maxLength"]) == (True, 250)
    assert "OPS-[0-9]{1,5}" in said(shown)
    for wrong in ("", "OPS-", "OPS-1\nOPS-2", "x" * 251):
        shown = teams.send(request, shown, "bob", reason="looked", ticket=wrong)
        assert "he ticket" in said(shown)
        values = {one["id"]: one.get("value") for one in shown["value"]["body"] if "id" in one}
        assert values["reason"] == "looked", "what was written is still there"
    assert (teams.state(request), refusals(teams, request)) == ("pending", [])
    teams.send(request, shown, "bob", reason="looked", ticket=" OPS-7 ")
    assert teams.state(request) == "approved"
    (entry,) = teams.airflow.entries(kind="vote_cast", request=request.id)
    assert entry["details"]["ticket"] == "OPS-7"


def test_a_rejection_takes_no_ticket_and_a_reason_only_where_approvals_have_one(teams: TeamsScene) -> None:
    teams.airflow.activate(policy(more=f"{TICKET}\n    approver_reason: '.{{5,}}'"))
    request = teams.asked(ticket="OPS-1")
    shown = teams.press(request, cards.REJECT, "bob")
    assert [one["id"] for one in shown["value"]["body"] if "id" in one] == ["reason"]
    shown = teams.send(request, shown, "bob")
    assert ("The rule asks for a reason." in said(shown), teams.state(request)) == (True, "pending")
    teams.send(request, shown, "bob", reason="no")
    assert teams.state(request) == "rejected"
