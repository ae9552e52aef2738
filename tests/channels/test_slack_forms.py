"""The form: within Slack's limits, whole facts, no markup of others, nothing but an opaque reference."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_approvals.channels import slack_forms
from airflow_approvals.channels.demands import Demands
from airflow_approvals.channels.slack_forms import notice, render, shown
from airflow_approvals.core.models import Verdict
from tests.channels.block_kit import assert_valid_view
from tests.channels.facts_for_tests import DIGEST, some_facts

REFERENCE = "req-1:" + "n" * 32
ALL = Demands(reason=("[A-Z].*",), reason_needed=True, ticket=("OPS-[0-9]+",), author_ticket="OPS-1")


@pytest.mark.parametrize("verdict", list(Verdict))
@pytest.mark.parametrize("demands", [Demands(), ALL])
def test_every_form_is_one_that_slack_takes(verdict: Verdict, demands: Demands) -> None:
    assert_valid_view(render(some_facts(), verdict, demands, REFERENCE))


def test_what_is_confirmed_is_what_the_grant_binds() -> None:
    view = json.dumps(render(some_facts(), Verdict.APPROVE, Demands(), REFERENCE))
    for fact in (
        "export",
        "partner-bucket",
        "s3://partner/in/",
        "confidential",
        "2 objects, 500 rows, 204,800 bytes",
        "0123456789ab (",
        DIGEST,
        "500 EMAIL_ADDRESS",
        "3 PERSON",
        "10 of 5,000 cells; 1 objects",
        "confidential-needs-a-steward",
        "1 of data-stewards",
        "2026-03-01 12:30 UTC",
        "secure_llm_export.gate",
    ):
        assert fact in view


def test_the_form_carries_its_reference_and_no_other_id() -> None:
    view = render(some_facts(), Verdict.REJECT, Demands(), REFERENCE)
    assert view["private_metadata"] == REFERENCE
    without = {name: part for name, part in view.items() if name != "private_metadata"}
    assert "req-1" not in json.dumps(without)


def test_approve_and_reject_ask_what_the_rule_demands() -> None:
    def inputs(verdict: Verdict, demands: Demands) -> dict[str, dict[str, Any]]:
        blocks = render(some_facts(), verdict, demands, REFERENCE)["blocks"]
        return {block["block_id"]: block for block in blocks if block["type"] == "input"}

    asked = inputs(Verdict.APPROVE, ALL)
    assert list(asked) == ["approvals.reason", "approvals.ticket"]
    assert not asked["approvals.reason"]["optional"]
    assert "[A-Z].*" in asked["approvals.reason"]["hint"]["text"]
    assert asked["approvals.ticket"]["element"]["initial_value"] == "OPS-1"
    free = inputs(Verdict.REJECT, Demands(reason=("[A-Z].*",)))
    assert list(free) == ["approvals.reason"]
    assert free["approvals.reason"]["optional"]
    assert "[A-Z]" not in free["approvals.reason"]["hint"]["text"]


def test_the_digest_tells_every_change_of_what_is_shown_and_nothing_else() -> None:
    def of(reference: str = REFERENCE, demands: Demands = ALL, **changes: Any) -> str:
        return shown(render(some_facts(**changes), Verdict.APPROVE, demands, reference))

    same = of()
    assert of(reference="req-1:" + "m" * 32) == same
    assert shown(render(some_facts(), Verdict.REJECT, ALL, REFERENCE)) != same
    for change in (
        {"residual": (("PERSON", 4),)},
        {"manifest_digest": DIGEST.replace("0123", "3210")},
        {"sink": "another"},
        {"rules": ("another",)},
        {"requesters": ("alice", "bob")},
    ):
        assert of(**change) != same
    assert of(demands=Demands()) != same


HOSTILE = st.text(max_size=60) | st.sampled_from(
    ["<!channel>", "<@U1>", "<https://x|y>", "\u202e", "x" * 5000]
)


@settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=HOSTILE, many=st.integers(0, 300), ticket=HOSTILE)
def test_whatever_the_facts_hold_slack_takes_it_and_nothing_is_markup(
    text: str, many: int, ticket: str
) -> None:
    facts = some_facts(
        action=text,
        sink=text,
        label=text,
        requesters=(text,) * many,
        rules=(text,) * many,
        residual=tuple((text, n) for n in range(many)),
        counts=tuple((text, f"KIND_{n}", n) for n in range(many)),
        run_id=text,
    )
    view = render(facts, Verdict.APPROVE, Demands(ticket=("a*",), author_ticket=ticket), REFERENCE)
    assert_valid_view(view)
    for block in view["blocks"]:
        for cell in block.get("fields", []):
            if cell["type"] == "mrkdwn":
                assert re.fullmatch(r"[A-Za-z0-9:\- ]+", cell["text"].strip("*"))  # names of ours
            else:
                assert "<" not in cell["text"]
    slack_forms.shown(view)


def test_a_notice_says_one_thing_and_where_to_go_on() -> None:
    assert_valid_view(notice("<!channel> no" * 400, "http://airflow.example/x?a=1&b=>|"))
    assert len(notice("No.")["blocks"]) == 1
    assert "callback_id" not in notice("No.")
