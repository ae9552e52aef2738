"""The judges of Block Kit themselves: what each of them alone would let through is refused."""

from __future__ import annotations

from typing import Any

import pytest
from slack_sdk.errors import SlackObjectFormationError

from tests.channels.block_kit import assert_valid_blocks, assert_valid_view

PLAIN = {"type": "plain_text", "text": "hello"}
SECTION = {"type": "section", "text": PLAIN}
INPUT = {
    "type": "input",
    "block_id": "reason",
    "label": PLAIN,
    "element": {"type": "plain_text_input", "action_id": "reason"},
}
VIEW: dict[str, Any] = {"type": "modal", "title": PLAIN, "submit": PLAIN, "close": PLAIN, "blocks": [INPUT]}


def button(**changes: Any) -> dict[str, Any]:
    return {"type": "button", "action_id": "a", "text": PLAIN, "value": "1", **changes}


def actions(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "actions", "elements": list(elements)}


def test_what_is_right_is_taken() -> None:
    assert_valid_blocks([SECTION, {"type": "divider"}, actions(button())])
    assert_valid_view(VIEW)


WRONG: dict[str, list[dict[str, Any]]] = {
    "no block": [],
    "unknown block": [{"type": "sektion", "text": PLAIN}],
    "missing text": [{"type": "header"}],
    "markup in a header": [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}],
    "extra field": [{**SECTION, "colour": "red"}],
    "bad style": [actions(button(style="blue"))],
    "value that is no text": [actions(button(value=1))],
    "value too long": [actions(button(value="x" * 2001))],
    "empty text": [{"type": "section", "text": {"type": "plain_text", "text": ""}}],
    "text too long": [{"type": "section", "text": {"type": "plain_text", "text": "x" * 3001}}],
    "too many blocks": [SECTION] * 51,
    "too many buttons": [actions(*(button(action_id=str(n)) for n in range(26)))],
    "block id twice": [{**SECTION, "block_id": "x"}] * 2,
    "action id twice": [actions(button(), button())],
    "too long in all": [{"type": "section", "text": {"type": "plain_text", "text": "x" * 3000}}] * 4,
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_refused(what: str) -> None:
    with pytest.raises((AssertionError, SlackObjectFormationError)):
        assert_valid_blocks(WRONG[what])


@pytest.mark.parametrize(
    "change",
    [
        {"title": {"type": "plain_text", "text": "x" * 25}},
        {"private_metadata": "x" * 3001},
        {"submit": None},
        {"type": "dialog"},
        {"blocks": [SECTION] * 101},
    ],
)
def test_a_modal_that_slack_would_not_open_is_refused(change: dict[str, Any]) -> None:
    view = {name: value for name, value in {**VIEW, **change}.items() if value is not None}
    with pytest.raises(AssertionError):
        assert_valid_view(view)
