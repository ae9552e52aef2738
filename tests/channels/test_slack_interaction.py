from __future__ import annotations

import json
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_approvals.channels.slack_interaction import Click, parse_interaction
from airflow_approvals.channels.slack_messages import render
from airflow_approvals.core.models import Verdict
from airflow_approvals.errors import ContractError
from tests.channels.facts_for_tests import some_facts
from tests.live import slack_clicks

MESSAGE = {"ts": "1700000000.000100", "blocks": render(some_facts()).blocks}


def interaction(**changes):
    made = slack_clicks.payload(
        message=MESSAGE, channel="C0123", action_id=slack_clicks.REJECT, user="U0BOB", team="T0TEAM"
    )
    return made | changes


def parse(made):
    return parse_interaction(slack_clicks.encode(made))


def test_a_faithful_click_is_read():
    expected = Click(
        request_id="req-1",
        verdict=Verdict.REJECT,
        team="T0TEAM",
        user_team="T0TEAM",
        user="U0BOB",
        app="A0APPROVALS",
        channel="C0123",
        message_ts="1700000000.000100",
    )
    click = parse(interaction())
    assert click == expected
    assert (click.message, click.actor) == ("C0123:1700000000.000100", "slack:T0TEAM:U0BOB")


def test_a_click_survives_being_written_down():
    click = parse(interaction())
    assert Click.from_text(click.to_text()) == click


def test_what_is_written_down_holds_no_response_url():
    made = interaction()
    assert "hooks.slack.com" in json.dumps(made)
    assert "hooks.slack.com" not in parse(made).to_text()


def test_a_user_of_another_workspace_is_told_apart():
    made = interaction(user={"id": "U0EVE", "team_id": "T0OTHER"})
    assert parse(made).user_team == "T0OTHER"


ACTION = interaction()["actions"][0]


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "view_submission"},
        {"type": None},
        {"team": None},
        {"team": {"id": 5}},
        {"team": {"id": "t0team"}},
        {"user": {}},
        {"user": {"id": "U0BOB", "team_id": None}},
        {"user": []},
        {"api_app_id": None},
        {"container": None},
        {"container": {"type": "view", "view_id": "V1"}},
        {"container": {"type": "message", "message_ts": "x", "channel_id": "C0123"}},
        {
            "container": {
                "type": "message",
                "message_ts": "1.1",
                "channel_id": "C0123",
                "is_ephemeral": True,
            }
        },
        {"actions": []},
        {"actions": [ACTION, ACTION]},
        {"actions": ["x"]},
        {"actions": {}},
        {"actions": [ACTION | {"action_id": "somebody_elses"}]},
        {"actions": [ACTION | {"action_id": ["approvals_approve"]}]},
        {"actions": [ACTION | {"value": "dag|run|task"}]},
        {"actions": [ACTION | {"value": "x" * 33}]},
        {"actions": [ACTION | {"value": None}]},
    ],
)
def test_anything_but_one_press_of_our_buttons_is_refused(changes):
    with pytest.raises(ContractError):
        parse(interaction(**changes))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"payload",
        b"payload=",
        b"payload=%7B",
        b"payload=[]",
        b"payload=%FF%FE",
        b"\xff\xfe=1",
        b"other=%7B%7D",
        b"payload=%7B%7D&payload=%7B%7D",
        b"&".join([b"a=1"] * 11),
        b"payload=" + quote_plus("[" * 20000).encode(),
        b"payload=" + b"1" * 6000,
    ],
)
def test_a_body_of_another_form_is_refused(body):
    with pytest.raises(ContractError):
        parse_interaction(body)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_refusal_and_nothing_else(body):
    with pytest.raises(ContractError):
        parse_interaction(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(name=st.sampled_from(["team", "user", "container", "actions", "api_app_id"]), value=JSON)
def test_any_json_in_place_of_a_part_gives_a_refusal(name, value):
    with pytest.raises(ContractError):
        parse(interaction(**{name: value}))


@pytest.mark.parametrize("text", ["", "{}", '{"verdict": "maybe"}', "[]"])
def test_what_was_not_written_by_us_is_refused(text):
    with pytest.raises(ContractError):
        Click.from_text(text)


def test_an_unknown_verdict_is_refused():
    text = parse(interaction()).to_text().replace("reject", "maybe")
    with pytest.raises(ContractError):
        Click.from_text(text)
