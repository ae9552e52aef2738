"""Deciding in Teams: the whole app over a real metadata database, and real tokens."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from airflow_approvals.api.teams import MAX_BODY_BYTES
from airflow_approvals.channels import teams_cards as cards
from airflow_approvals.chat import messages
from airflow_approvals.core.models import Verdict
from airflow_approvals.store.tables import DeliveryRow, OutboxRow, RequestRow
from tests.channels.teams_service import CHANNEL, OTHER_TENANT, PEOPLE, TENANT, SigningKey, press
from tests.control.airflow_scene import BOB
from tests.control.teams_scene import PATH, TeamsScene, policy, said

CARD = "application/vnd.microsoft.card.adaptive"
MESSAGE = "application/vnd.microsoft.activity.message"
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def test_an_approver_confirms_what_the_server_holds_and_the_gate_opens(teams: TeamsScene) -> None:
    request = teams.asked()
    first = teams.press(request, cards.APPROVE, "bob")
    assert (first["statusCode"], first["type"]) == (200, CARD)
    assert request.manifest_digest in said(first)
    assert [a["verb"] for a in first["value"]["actions"][:2]] == [cards.CONFIRM_APPROVE, cards.VIEW]
    assert (teams.state(request), teams.votes(request)) == ("pending", [])
    second = teams.confirm(request, "bob", reason="looked, INC-7")
    assert (second["statusCode"], second["type"]) == (200, CARD)
    assert teams.state(request) == "approved"
    assert teams.votes(request) == [("bob", "approve", "teams")]
    (entry,) = teams.airflow.entries(kind="vote_cast", request=request.id)
    assert (entry["channel"], entry["details"]["reason"]) == ("teams", "looked, INC-7")
    messages.deliver()
    assert "Approved by bob" in json.dumps(teams.card(request))
    card, *told = [(place, json.dumps(teams.service.activities[place])) for place in teams.service.posted]
    (thread, story), (chat, outcome) = [(place[0], text) for place, text in told]
    assert card[0] == teams.service.about[request.id], "the card is replaced, not posted again"
    assert (thread, "Approved by bob" in story) == (f"{CHANNEL};messageid={card[0][1]}", True)
    assert chat == f"a:29:{PEOPLE['alice']}", "whoever started the run is told how it ended"
    assert f"Your request {request.action} to {request.sink}: approved. Approved by bob" in outcome


def test_a_rejection_needs_no_reason(teams: TeamsScene) -> None:
    request = teams.asked()
    teams.press(request, cards.CONFIRM_REJECT, "bob")
    assert teams.state(request) == "rejected"


def test_the_card_is_replaced_whatever_channel_decided(teams: TeamsScene) -> None:
    run = teams.airflow.a_run(user="alice")
    request = teams.asked(run)
    run.vote(request, BOB, Verdict.REJECT)
    messages.deliver()
    assert [action["type"] for action in teams.card(request)["actions"]] == ["Action.OpenUrl"]
    answer = teams.post(_on_stale_card(request, teams)).json()
    assert "already rejected" in said(answer)


def _on_stale_card(request: Any, teams: TeamsScene) -> dict[str, Any]:
    """A press on the card as it was before it was replaced, which a client may still show."""
    conversation, activity, nonce = _delivery(teams, request).message.split("|")
    return _pressed(teams, conversation, activity, request.id, nonce, "bob", cards.CONFIRM_APPROVE)


def _delivery(teams: TeamsScene, request: Any) -> DeliveryRow:
    found = select(DeliveryRow).where(DeliveryRow.request_id == request.id)
    return teams.airflow.look(lambda s: s.scalars(found).one())


def _pressed(
    teams: TeamsScene, conversation: str, activity: str, request_id: str, nonce: str, who: str, verb: str
) -> dict[str, Any]:
    data = {"request": request_id, "nonce": nonce}
    card = {"actions": [{"type": "Action.Execute", "title": "x", "verb": verb, "data": data}]}
    return press((conversation, activity), card, verb, PEOPLE[who], teams.service)


@pytest.mark.parametrize(
    ("who", "code", "word"),
    [
        ("alice", "self_approval", "somebody else has to decide"),
        ("viewer", "not_permitted", "does not let you answer"),
        ("stranger", "not_linked", "not linked to an Airflow user"),
    ],
)
@pytest.mark.parametrize("verb", [cards.APPROVE, cards.CONFIRM_APPROVE])
def test_who_may_not_decide_is_told_why_and_recorded(
    teams: TeamsScene, who: str, code: str, word: str, verb: str
) -> None:
    request = teams.asked()
    answer = teams.press(request, verb, who)
    assert (answer["type"], teams.state(request)) == (CARD, "pending")
    assert word in said(answer)
    assert [a["type"] for a in answer["value"]["actions"]] == ["Action.OpenUrl"]
    (entry,) = teams.airflow.entries(kind="vote_refused", request=request.id, code=code)
    assert entry["channel"] == "teams"
    messages.deliver()
    assert word not in json.dumps(teams.card(request)), "a refusal is private"
    assert len(teams.service.posted) == 1


@pytest.mark.parametrize(
    ("linked", "code"), [("nobody-of-that-name", "no_such_user"), ("dave", "not_eligible")]
)
def test_a_link_to_nobody_or_to_somebody_without_a_seat_is_no_vote(
    teams: TeamsScene, linked: str, code: str
) -> None:
    teams.airflow.activate(policy(stranger=linked))
    request = teams.asked()
    teams.press(request, cards.CONFIRM_APPROVE, "stranger")
    assert teams.state(request) == "pending"
    assert len(teams.airflow.entries(kind="vote_refused", request=request.id, code=code)) == 1


def test_another_tenant_is_refused_told_nothing_and_recorded(teams: TeamsScene) -> None:
    request = teams.asked()
    answer = teams.post(teams.activity(request, cards.CONFIRM_APPROVE, "bob", tenant=OTHER_TENANT))
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_tenant")
    assert request.manifest_digest not in answer.text
    (entry,) = teams.airflow.entries(kind="vote_refused", request=request.id, code="foreign_tenant")
    assert entry["actor"] == f"teams:{OTHER_TENANT}:{PEOPLE['bob']}"
    mixed = teams.activity(request, cards.CONFIRM_APPROVE, "bob")
    mixed["conversation"]["tenantId"] = OTHER_TENANT
    assert teams.post(mixed).status_code == 403
    assert teams.state(request) == "pending"


def test_a_policy_that_names_another_tenant_or_none_links_nobody(teams: TeamsScene) -> None:
    request = teams.asked()
    for text, code in (
        (policy().replace(TENANT, OTHER_TENANT), "foreign_tenant"),
        (policy().partition("identities:")[0], "teams_not_in_policy"),
    ):
        teams.airflow.activate(text)
        assert teams.press(request, cards.CONFIRM_APPROVE, "bob")["type"] == MESSAGE
        assert len(teams.airflow.entries(kind="vote_refused", request=request.id, code=code)) == 1
    assert teams.state(request) == "pending"


def test_a_press_on_another_card_than_the_recorded_one_is_refused(teams: TeamsScene) -> None:
    request = teams.asked()
    (conversation, activity), card = teams.service.card_of(request.id)
    nonce = card["actions"][0]["data"]["nonce"]
    other = teams.asked()
    for place in (
        (conversation, "1600000000000", request.id, nonce),
        ("19:another@thread.tacv2", activity, request.id, nonce),
        (conversation, activity, request.id, "another-nonce-of-22-ch"),
        (conversation, activity, other.id, nonce),
        (conversation, activity, "no-such-request", nonce),
    ):
        answer = teams.post(_pressed(teams, *place, "bob", cards.CONFIRM_APPROVE)).json()
        assert (answer["type"], "was not posted for that request" in said(answer)) == (MESSAGE, True)
    assert (teams.state(request), teams.state(other)) == ("pending", "pending")
    assert len(teams.airflow.entries(kind="vote_refused", code="unknown_message")) >= 5


def test_a_post_that_was_lost_is_made_again_and_its_own_buttons_are_dead(teams: TeamsScene) -> None:
    teams.service.lose_next = True
    request = teams.asked()
    (lost, lost_card) = teams.service.card_of(request.id)
    teams.airflow.do(lambda s: s.execute(_all_due()))
    messages.deliver()
    assert len(teams.service.posted) == 2
    button = lost_card["actions"][0]["data"]
    answer = teams.post(
        _pressed(teams, *lost, button["request"], button["nonce"], "bob", cards.CONFIRM_APPROVE)
    )
    assert "was not posted for that request" in said(answer.json())
    teams.confirm(request, "bob")
    assert teams.state(request) == "approved"


def _all_due() -> Any:
    return update(OutboxRow).values(due_at=_LONG_AGO)


def test_a_card_whose_post_is_not_recorded_yet_asks_to_try_again(teams: TeamsScene) -> None:
    request = teams.asked()
    activity = teams.activity(request, cards.CONFIRM_APPROVE, "bob")
    message = _delivery(teams, request).message
    teams.airflow.do(lambda s: s.execute(update(DeliveryRow).values(message="")))
    answer = teams.post(activity).json()
    assert (answer["type"], "try again" in said(answer)) == (MESSAGE, True)
    teams.airflow.do(lambda s: s.execute(update(DeliveryRow).values(message=message)))
    teams.confirm(request, "bob")
    assert teams.state(request) == "approved"


def test_a_repeated_invoke_has_one_effect(teams: TeamsScene) -> None:
    request = teams.asked()
    refused = teams.activity(request, cards.CONFIRM_APPROVE, "stranger")
    approved = teams.activity(request, cards.CONFIRM_APPROVE, "bob", inputs={"reason": "looked"})
    asked = teams.activity(request, cards.APPROVE, "alice")
    for activity in (asked, refused, approved):
        answers = [teams.post(activity) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert teams.state(request) == "approved"
    assert len(teams.airflow.entries(kind="vote_cast", request=request.id)) == 1
    assert len(teams.airflow.entries(kind="vote_refused", request=request.id)) == 2
    assert len(teams.inbox()) == 3
    assert {row.state for row in teams.inbox()} == {"done"}


def test_double_clicks_at_once_are_one_decision(postgres_teams: TeamsScene) -> None:
    teams = postgres_teams
    for _ in range(2):
        request = teams.asked()
        same = teams.activity(request, cards.CONFIRM_APPROVE, "bob", inputs={"reason": "looked"})
        other = teams.activity(request, cards.CONFIRM_APPROVE, "bob", inputs={"reason": "looked"})
        against = teams.activity(request, cards.CONFIRM_REJECT, "carol")
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(teams.post, [same, other, against] * 2))
        assert [answer.status_code for answer in answers] == [200] * 6
        assert teams.state(request) in ("approved", "rejected")
        assert len(teams.airflow.entries(kind="vote_cast", request=request.id)) == 1
        decided = [e for e in teams.airflow.entries(request=request.id) if e["kind"] == "request_decided"]
        assert len(decided) <= 1


def test_a_reason_that_does_not_fit_is_asked_for_again(teams: TeamsScene) -> None:
    teams.airflow.activate(policy(more='\n    approver_reason: "(?:checked|sampled) .{5,}"'))
    request = teams.asked()
    first = teams.press(request, cards.APPROVE, "bob")
    (box,) = [element for element in first["value"]["body"] if element["type"] == "Input.Text"]
    assert (box["id"], box["isRequired"]) == ("reason", True)
    again = teams.confirm(request, "bob", reason="ok")
    assert "needs a reason of the form" in said(again)
    assert again["value"]["actions"][0]["verb"] == cards.CONFIRM_APPROVE
    assert teams.state(request) == "pending"
    assert (
        teams.confirm(request, "bob", reason="x" * 2001)["value"]["actions"][0]["verb"]
        == cards.CONFIRM_APPROVE
    )
    teams.confirm(request, "bob", reason="sampled ten rows")
    assert teams.state(request) == "approved"


def test_everybody_sees_the_card_that_is_theirs(teams: TeamsScene) -> None:
    request = teams.asked()
    viewers = teams.card(request)["refresh"]["userIds"]
    assert viewers == [f"29:{PEOPLE[name]}" for name in ("alice", "bob", "carol")]

    def buttons(who: str) -> list[str]:
        return [action["title"] for action in teams.press(request, cards.VIEW, who)["value"]["actions"]]

    assert buttons("bob") == ["Approve", "Reject", "Open in Airflow"]
    assert buttons("alice") == ["Open in Airflow"]
    assert "somebody else has to decide" in said(teams.press(request, cards.VIEW, "alice"))
    assert buttons("stranger") == ["Open in Airflow"]
    assert teams.inbox() == []
    assert teams.airflow.entries(kind="vote_refused", request=request.id) == []


def test_a_vote_that_is_not_the_last_may_be_changed(teams: TeamsScene) -> None:
    two = policy().replace("count: 1", "count: 2")
    teams.airflow.activate(two)
    request = teams.asked()
    assert "You voted to approve" in said(teams.confirm(request, "bob"))
    messages.deliver()
    assert "bob: approve (teams" in json.dumps(teams.card(request))
    assert "You voted to approve" in said(teams.press(request, cards.VIEW, "bob"))
    teams.press(request, cards.CONFIRM_REJECT, "bob")
    assert teams.state(request) == "rejected"


def test_where_the_rule_lets_teams_only_view_nobody_decides_there(teams: TeamsScene) -> None:
    teams.airflow.activate(policy(channels="ui: decide, teams: view"))
    request = teams.asked()
    assert [action["type"] for action in teams.card(request)["actions"]] == ["Action.OpenUrl"]
    answer = teams.post(_on_stale_card(request, teams)).json()
    assert "can be seen here, but not decided" in said(answer)
    assert teams.state(request) == "pending"


@pytest.mark.parametrize("verb", [cards.APPROVE, cards.VIEW])
def test_a_request_whose_time_is_up_is_closed_instead_of_asked_about(teams: TeamsScene, verb: str) -> None:
    request = teams.asked()
    teams.airflow.do(lambda s: s.execute(update(RequestRow).values(expires_at=_LONG_AGO)))
    answer = teams.press(request, verb, "bob")
    assert [action["type"] for action in answer["value"]["actions"]] == ["Action.OpenUrl"]
    assert "Expired" in said(answer)
    assert teams.state(request) == "expired"


def test_a_gate_that_has_gone_is_not_asked_about(teams: TeamsScene) -> None:
    run = teams.airflow.a_run(user="alice")
    request = teams.asked(run)
    run.delete()
    answer = teams.press(request, cards.APPROVE, "bob")
    assert [action["type"] for action in answer["value"]["actions"]] == ["Action.OpenUrl"]
    assert "The gate was cleared, retried or deleted." in said(answer)
    assert teams.state(request) == "withdrawn"


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"aud": "b0000000-1111-4222-8333-444444444444"}, 401),
        ({"iss": "https://evil.example"}, 401),
        ({"exp": 1}, 401),
        ({"nbf": 4_000_000_000}, 401),
        ({"key": SigningKey()}, 401),
        ({"serviceurl": "https://smba.trafficmanager.net/emea/"}, 403),
    ],
)
def test_a_wrong_token_is_refused_and_has_no_effect(
    teams: TeamsScene, claims: dict[str, Any], status: int
) -> None:
    request = teams.asked()
    activity = teams.activity(request, cards.CONFIRM_APPROVE, "bob")
    assert teams.post(activity, teams.service.token(**claims)).status_code == status
    assert teams.client.post(PATH, json=activity).status_code == 401
    assert (teams.state(request), teams.inbox()) == ("pending", [])


@pytest.mark.parametrize(
    "changes",
    [
        {"channelId": "webchat"},
        {"serviceUrl": "https://smba.trafficmanager.net/teams/"},
        {"serviceUrl": "https://evil.trafficmanager.net/teams/"},
        {"channelData": {}, "conversation": {"id": CHANNEL}},
    ],
)
def test_an_activity_of_elsewhere_is_refused(teams: TeamsScene, changes: dict[str, Any]) -> None:
    request = teams.asked()
    activity = {**teams.activity(request, cards.CONFIRM_APPROVE, "bob"), **changes}
    assert teams.post(activity).status_code == 403
    assert teams.state(request) == "pending"


def test_nothing_is_parsed_before_the_token_is_checked(teams: TeamsScene) -> None:
    assert teams.client.post(PATH, content=b"{" * 5000).status_code == 401
    assert teams.client.post(PATH, content=b"x" * (MAX_BODY_BYTES + 1)).status_code == 401
    assert teams.post(b"x" * (MAX_BODY_BYTES + 1)).status_code == 413
    assert teams.post(b"[" * 60_000).status_code == 400
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        assert teams.client.request(method, PATH).status_code == 405


def test_other_activities_are_noted_and_other_invokes_not_supported(teams: TeamsScene) -> None:
    request = teams.asked()
    base = teams.activity(request, cards.CONFIRM_APPROVE, "bob")
    for kind in ("conversationUpdate", "installationUpdate", "message"):
        answer = teams.post({**base, "type": kind, "name": ""})
        assert (answer.status_code, answer.json()) == (200, {})
    assert teams.post({**base, "name": "task/fetch"}).json()["statusCode"] == 501
    for broken in ({"value": {}}, {"from": {"id": "29:x"}}, {"replyToId": 7}, {"id": "x\n"}):
        assert teams.post({**base, **broken}).json()["statusCode"] == 400
    assert (teams.state(request), teams.inbox()) == ("pending", [])


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_KEYS = ("type", "name", "id", "from", "conversation", "channelData", "replyToId", "value", "serviceUrl")


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(changes=st.dictionaries(st.sampled_from(_KEYS), _VALUES, min_size=1), action=_VALUES)
def test_no_shape_of_a_proven_call_is_a_fault_or_a_vote(
    teams: TeamsScene, changes: dict[str, Any], action: Any
) -> None:
    (request,) = teams.airflow.look(lambda s: s.query(RequestRow).all()) or [teams.asked()]
    activity = teams.activity(request, cards.CONFIRM_APPROVE, "stranger")
    mangled = {**activity, "value": {"action": action}, **changes}
    assert teams.post(mangled).status_code in (200, 400, 403)
    assert teams.state(request) == "pending"


def test_without_a_bot_or_its_secret_the_route_is_shut(teams: TeamsScene) -> None:
    token = teams.service.token()
    teams.airflow.conf("teams_app_password_file", str(teams.airflow.folder / "not-there"))
    assert teams.post(b"{}", token).status_code == 503
    teams.airflow.conf("teams_app_password_file", "")
    answer = teams.post(b"{}", token)
    assert (answer.status_code, answer.json()["code"]) == (503, "teams_not_configured")


def test_without_keys_to_check_by_nobody_is_let_in(teams: TeamsScene) -> None:
    teams.airflow.conf("teams_openid_url", "http://127.0.0.1:9/openid")
    request = teams.asked()
    assert teams.post(teams.activity(request, cards.CONFIRM_APPROVE, "bob")).status_code == 503
    assert teams.state(request) == "pending"


def test_where_the_name_is_the_account_nobody_has_to_be_listed(
    teams: TeamsScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    oid = PEOPLE["stranger"]
    text = policy().replace("[bob, carol, alice]", f"[bob, carol, alice, {oid}]")
    request = teams.asked()
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", f"alice:admin,{oid}:user")
    teams.airflow.activate(text)
    teams.confirm(request, "stranger")
    assert teams.state(request) == "pending", "it has to be opted for"
    teams.airflow.activate(text.replace("users: {aaaaaaaa", "oid_is_username: true, users: {aaaaaaaa"))
    teams.confirm(request, "stranger")
    assert teams.votes(request) == [(oid, "approve", "teams")]


def test_people_are_told_apart_by_their_account_and_not_by_what_they_are_called(teams: TeamsScene) -> None:
    request = teams.asked()
    posing = teams.activity(request, cards.CONFIRM_APPROVE, "carol")
    posing["from"] = {"id": f"29:{PEOPLE['carol']}", "name": "bob", "aadObjectId": PEOPLE["alice"].upper()}
    assert "somebody else has to decide" in said(teams.post(posing).json())
    assert teams.state(request) == "pending"
