"""Judges of Block Kit that nobody here wrote: Slack's own types, and Slack's own Python models.

The types (``@slack/types`` through ``ajv``) know the shape and no lengths, the models know
lengths and not every shape. What neither knows is counted here: blocks, unique ids, and the
length of the whole, which Slack refuses with ``msg_blocks_too_long``.

Source: https://docs.slack.dev/reference/block-kit/blocks/ (50 blocks in a message, 100 in a modal);
https://docs.slack.dev/reference/views/modal-views/ (lengths of a modal's own texts);
https://github.com/slackapi/bolt-js/issues/2509 (refused from about 13,200 characters on).
"""

from __future__ import annotations

import atexit
import json
import subprocess
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal

from slack_sdk.models.blocks import Block

from tests.live.emulator import NODE_FILES, find_node, install

Surface = Literal["message", "modal"]

MAX_BLOCKS = {"message": 50, "modal": 100}
#: Of a whole message, as compact JSON in characters: what Slack was seen to take, less a tenth.
MAX_MESSAGE = 12_000
MAX_METADATA = 3000
MAX_VIEW_TEXT = 24
MAX_ID = 255


def assert_valid_blocks(blocks: list[dict[str, Any]], surface: Surface = "message") -> None:
    """Require that Slack would take these blocks in a message or in a modal.

    :raises AssertionError: with what is wrong.
    """
    assert 1 <= len(blocks) <= MAX_BLOCKS[surface], f"{len(blocks)} blocks"
    title = {"type": "plain_text", "text": "-"}
    modal = {"type": "modal", "title": title, "blocks": blocks}
    _assert_types_take(surface, {"blocks": blocks} if surface == "message" else modal)
    for block in blocks:
        _assert_models_take(block)
    for name in ("block_id", "action_id"):
        ids = list(_values(blocks, name))
        assert len(ids) == len(set(ids)), f"{name} is not unique: {ids}"
        assert all(1 <= len(one) <= MAX_ID for one in ids), ids
    if surface == "message":
        assert length_of(blocks) <= MAX_MESSAGE, f"{length_of(blocks)} characters in all"


def assert_valid_view(view: dict[str, Any]) -> None:
    """Require that Slack would open this modal; :raises AssertionError: with what is wrong."""
    assert_valid_blocks(view["blocks"], "modal")
    _assert_types_take("modal", view)
    for name in ("title", "submit", "close"):
        text = view.get(name, {}).get("text", "-")
        assert 1 <= len(text) <= MAX_VIEW_TEXT, f"{name}: {text!r}"
    assert len(view.get("private_metadata", "")) <= MAX_METADATA
    assert len(view.get("callback_id", "")) <= MAX_ID
    if any(block["type"] == "input" for block in view["blocks"]):
        assert "submit" in view, "a modal with an input needs a submit button"


def length_of(blocks: list[dict[str, Any]]) -> int:
    """Return the length of blocks as compact JSON, in characters."""
    return len(json.dumps(blocks, ensure_ascii=False, separators=(",", ":")))


def _assert_models_take(block: dict[str, Any]) -> None:
    parsed = Block.parse(json.loads(json.dumps(block)))
    assert parsed is not None, f"unknown block: {block}"
    parsed.validate_json()
    assert parsed.to_dict() == block
    for part in _values(block, "text"):
        assert 1 <= len(part) <= 3000, f"a text of {len(part)} characters"
        part.encode()
    fields = block.get("fields", [])
    assert len(fields) <= 10, f"{len(fields)} fields"
    assert all(len(cell["text"]) <= 2000 for cell in fields)


def _values(value: object, name: str) -> Iterator[str]:
    """Yield every string under a name, however deep."""
    if isinstance(value, dict):
        for key, part in value.items():
            if key == name and isinstance(part, str):
                yield part
            else:
                yield from _values(part, name)
    elif isinstance(value, list):
        for part in value:
            yield from _values(part, name)


def _assert_types_take(surface: Surface, document: dict[str, Any]) -> None:
    wrong = _judge().ask({"surface": surface, "document": document})
    assert wrong == [], f"Slack's types refuse it: {wrong[:8]}"


class _Judge:
    """The Node process with the compiled schema; it ends when its standard input does."""

    def __init__(self) -> None:
        folder = install().parents[3]
        self._process = subprocess.Popen(
            [str(find_node().node), str(NODE_FILES / "block_kit.cjs"), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def ask(self, question: dict[str, Any]) -> list[str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "The judge of Block Kit has ended; see its error output."
        wrong: list[str] = json.loads(answer)
        return wrong

    def close(self) -> None:
        self._process.communicate()


@cache
def _judge() -> _Judge:
    judge = _Judge()
    atexit.register(judge.close)
    return judge
