from __future__ import annotations

import json
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_approvals.channels import slack_forms
from airflow_approvals.channels.demands import Demands
from airflow_approvals.channels.slack_interaction import (
    Click,
    Closed,
    Submission,
    interaction_from_text,
    parse_form,
    parse_interaction,
)
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
    return parse_interaction(parse_form(slack_clicks.encode(made)))


def test_a_faithful_click_is_read():
    made = interaction()
    expected = Click(
        request_id="req-1",
        verdict=Verdict.REJECT,
        team="T0TEAM",
        user_team="T0TEAM",
        user="U0BOB",
        app="A0APPROVALS",
        channel="C0123",
        message_ts="1700000000.000100",
        trigger=made["trigger_id"],
    )
    click = parse(made)
    assert click == expected
    assert (click.message, click.actor) == ("C0123:1700000000.000100", "slack:T0TEAM:U0BOB")


def test_a_click_survives_being_written_down():
    click = parse(interaction())
    assert interaction_from_text(click.to_text()) == click


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
        {"type": "view_closed"},
        {"type": None},
        {"trigger_id": None},
        {"trigger_id": "x y"},
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
        parse_form(body)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_refusal_and_nothing_else(body):
    with pytest.raises(ContractError):
        parse_form(body)


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
        interaction_from_text(text)


def test_an_unknown_verdict_is_refused():
    text = parse(interaction()).to_text().replace("reject", "maybe")
    with pytest.raises(ContractError):
        interaction_from_text(text)


VIEW = slack_forms.render(some_facts(), Verdict.APPROVE, Demands(ticket=("OPS-[0-9]+",)), "req-1:" + "n" * 32)


def submission(**changes):
    made = slack_clicks.submission(
        view=VIEW, user="U0BOB", team="T0TEAM", answers={"reason": "looked", "ticket": "OPS-1"}
    )
    return made | changes


def view_with(**changes):
    return submission(view={**submission()["view"], **changes})


def test_a_faithful_form_is_read():
    sent = parse(submission())
    assert sent == Submission(
        request_id="req-1",
        nonce="n" * 32,
        team="T0TEAM",
        user_team="T0TEAM",
        user="U0BOB",
        app="A0APPROVALS",
        reason="looked",
        ticket="OPS-1",
    )
    assert sent.actor == "slack:T0TEAM:U0BOB"
    assert interaction_from_text(sent.to_text()) == sent


def test_a_form_without_answers_has_empty_ones():
    for values in ({}, {"approvals.reason": {"reason": {"value": None}}}):
        sent = parse(view_with(state={"values": values}))
        assert (sent.reason, sent.ticket) == ("", "")


def test_a_form_that_is_closed_is_told_apart():
    assert parse(submission(type="view_closed")) == Closed()


@pytest.mark.parametrize(
    "payload",
    [
        submission(view=None),
        submission(user=None),
        submission(team=None),
        view_with(callback_id="somebody_elses"),
        view_with(type="home"),
        view_with(private_metadata=""),
        view_with(private_metadata="req-1"),
        view_with(private_metadata="req-1:short"),
        view_with(private_metadata=f"dag|run:{'n' * 32}"),
        view_with(state=None),
        view_with(state={"values": []}),
        view_with(state={"values": {"approvals.reason": {"reason": {"value": 7}}}}),
        view_with(state={"values": {"approvals.reason": {"reason": {"value": "x" * 4001}}}}),
        view_with(state={"values": {"approvals.reason": {"reason": {"value": "\x00"}}}}),
        view_with(state={"values": {"approvals.reason": {"reason": {"value": "\ud800"}}}}),
        view_with(state={"values": {"approvals.reason": {}}}),
        submission(type="view_closed", view={"type": "modal", "callback_id": "else"}),
    ],
)
def test_any_other_form_is_refused(payload):
    with pytest.raises(ContractError):
        parse(payload)
