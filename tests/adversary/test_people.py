"""People who answer and may not: on Airflow's own route and on ours, with a token as programs have one."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.adversary.world import Scene

pytestmark = pytest.mark.live


def both_answers(scene: Scene, user: str) -> Iterator[httpx.Response]:
    """Approve on Airflow's own route, then on ours."""
    yield scene.world.answer(scene.dag_id, scene.run_id, user)
    yield scene.world.vote(scene.request()["id"], user, reason="let it go")


def assert_still_shut(scene: Scene) -> None:
    assert scene.request()["state"] == "pending"
    assert scene.state("gate") == "awaiting_input"
    assert scene.calls() == []


@pytest.mark.core
@pytest.mark.scene("plain", shared="answered")
def test_requester_approves_in_airflow(parked: Scene, attacker: str) -> None:
    answer = parked.world.answer(parked.dag_id, parked.run_id, parked.attacker)
    assert answer.status_code == 409, answer.text
    assert_still_shut(parked)
    assert parked.entries("vote_refused", actor=parked.attacker, code="self_approval", channel="api")


@pytest.mark.scene("plain")
def test_requester_approves_through_the_rest_api(parked: Scene, attacker: str) -> None:
    answer = parked.world.vote(parked.request()["id"], parked.attacker, reason="I know what I do")
    assert (answer.status_code, answer.json()["code"]) == (403, "self_approval")
    assert_still_shut(parked)
    assert parked.entries("vote_refused", actor=parked.attacker, code="self_approval", channel="api")


@pytest.mark.parametrize("stranger", ["alice", "olga", "dave"])
@pytest.mark.scene("plain", shared="answered")
def test_approval_without_a_seat(parked: Scene, stranger: str) -> None:
    """An administrator, an operator, and somebody with a seat in another rule."""
    answers = list(both_answers(parked, stranger))
    assert [answer.status_code for answer in answers] == [409, 403]
    assert answers[1].json()["code"] == "not_eligible"
    assert_still_shut(parked)
    assert len(parked.entries("vote_refused", actor=stranger, code="not_eligible")) == 2


@pytest.mark.scene("plain", shared="answered")
def test_approval_by_a_viewer(parked: Scene) -> None:
    answers = list(both_answers(parked, "viewer"))
    assert [answer.status_code for answer in answers] == [403, 403]
    assert_still_shut(parked)
    assert len(parked.entries("vote_refused", actor="viewer", code="not_permitted")) == 2


@pytest.mark.scene("plain", action="operate")
def test_approval_by_a_service_account(parked: Scene) -> None:
    """It sits in the group that the rule asks for."""
    answers = list(both_answers(parked, "robot"))
    assert [answer.status_code for answer in answers] == [409, 403]
    assert answers[1].json()["code"] == "service_account"
    assert_still_shut(parked)
    assert len(parked.entries("vote_refused", actor="robot", code="service_account")) == 2


@pytest.mark.scene("plain", action="page")
def test_approval_by_an_agent_with_its_humans_token(parked: Scene) -> None:
    """Bob has a seat; the rule lets him decide on a page, in a session of his own."""
    answers = list(both_answers(parked, "bob"))
    assert [answer.status_code for answer in answers] == [409, 403]
    assert answers[1].json()["code"] == "channel_views_only"
    assert_still_shut(parked)
    assert len(parked.entries("vote_refused", actor="bob", code="channel_views_only", channel="api")) == 2


@pytest.mark.scene("plain", action="publish")
def test_one_person_in_two_groups_fills_one_seat(parked: Scene) -> None:
    for answer in (*both_answers(parked, "carol"), *both_answers(parked, "carol")):
        assert answer.status_code == 200, answer.text
    assert_still_shut(parked)
    assert [vote["person"] for vote in parked.request()["votes"]] == ["carol"]
    assert len(parked.entries("vote_cast")) == 1
    assert parked.entries("vote_changed", actor="carol")


@pytest.mark.scene("plain", action="leak")
def test_ask_for_what_the_policy_forbids(scene: Scene) -> None:
    assert scene.finish() == "failed"
    assert scene.request()["state"] == "forbidden"
    assert scene.world.vote(scene.request()["id"], "bob").status_code == 409
    assert scene.calls() == []
    assert scene.entries("request_forbidden", task_id="gate")
    assert scene.entries("vote_refused", actor="bob", code="already_closed")


@pytest.mark.scene("plain")
def test_approval_by_whoever_cleared_the_gate(parked: Scene) -> None:
    """Bob has a seat, and makes the run ask anew."""
    first = parked.request()["id"]
    assert parked.clear("gate", user="bob").status_code == 200
    parked.world.until(lambda: parked.request()["id"] != first, "the gate asks again")
    answers = list(both_answers(parked, "bob"))
    assert [answer.status_code for answer in answers] == [409, 403]
    assert answers[1].json()["code"] == "self_approval"
    assert_still_shut(parked)
    assert parked.entries("run_overridden", actor="bob", act="clear", task_id="gate")
    assert len(parked.entries("vote_refused", actor="bob", code="self_approval")) == 2
