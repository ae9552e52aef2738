"""Text for Slack: nothing that others wrote is ever markup, a mention or a link.

Values of others go into ``plain_text`` objects, which know no formatting, and are escaped as
well, because ``<!channel>`` and ``<@U…>`` are recognised by their angle brackets.

Source: https://docs.slack.dev/messaging/formatting-message-text/ (escape ``&``, ``<``, ``>``);
https://docs.slack.dev/reference/block-kit/blocks/ (lengths).
"""

from __future__ import annotations

import unicodedata
from typing import Any

Block = dict[str, Any]

#: Slack's limits, in characters or items.
MAX_BLOCKS = 50
MAX_HEADER = 150
MAX_SECTION = 3000
MAX_FIELD = 2000
MAX_FIELDS = 10
MAX_CONFIRM_TITLE = 100
MAX_CONFIRM_TEXT = 300
MAX_FALLBACK = 3000

_MAX_ITEM = 200
_CUT = " …"
#: Control and format characters (bidirectional overrides among them), odd line breaks and lone
#: surrogates: they would show something else than what is there, or not encode at all.
_UNSHOWABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def escape(text: str) -> str:
    """Return the text with Slack's three control characters escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def showable(text: str) -> str:
    """Return the text without characters that hide or reorder what is shown; keep line breaks."""
    text = text.replace("\t", " ")
    return "".join(c for c in text if c == "\n" or unicodedata.category(c) not in _UNSHOWABLE)


def fit(text: str, limit: int) -> str:
    """Return the text, showable and escaped, in at most ``limit`` characters.

    An escape sequence is never cut in half: the text is cut before it is escaped.
    """
    text = showable(text)
    escaped = escape(text)
    if len(escaped) <= limit:
        return escaped
    kept: list[str] = []
    length = len(_CUT)
    for character in text:
        length += len(escape(character))
        if length > limit:
            break
        kept.append(escape(character))
    return "".join(kept) + _CUT


def one_line(text: str) -> str:
    """Return the text on one line: a value with line breaks cannot pose as several facts."""
    return " ".join(text.split())


def plain(text: str, limit: int) -> Block:
    """Return a ``plain_text`` object; never empty, since Slack refuses empty ones."""
    return {"type": "plain_text", "text": fit(text, limit) or "-", "emoji": False}


def markup(text: str) -> Block:
    """Return an ``mrkdwn`` object for text of our own; Slack finds no links in it by itself."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def header(text: str, block_id: str) -> Block:
    """Return a header block."""
    return {"type": "header", "block_id": block_id, "text": plain(one_line(text), MAX_HEADER)}


def facts(pairs: list[tuple[str, str]]) -> list[Block]:
    """Return sections that set names beside values, five pairs to a section."""
    step = MAX_FIELDS // 2
    return [
        {"type": "section", "fields": [cell for pair in pairs[start : start + step] for cell in _cells(pair)]}
        for start in range(0, len(pairs), step)
    ]


def _cells(pair: tuple[str, str]) -> tuple[Block, Block]:
    name, value = pair
    return markup(f"*{name}*"), plain(one_line(value), MAX_FIELD)


def listing(title: str, text: str) -> list[Block]:
    """Return a title of ours and, under it, plain text of any origin."""
    return [
        {"type": "section", "text": markup(f"*{title}*")},
        {"type": "section", "text": plain(text, MAX_SECTION)},
    ]


def quote(text: str) -> str:
    """Return the text with a bar before each line, so that it cannot be taken for ours."""
    lines = text.splitlines() or [""]
    return "\n".join(f"│ {line}" for line in lines)


def and_more(items: list[str], limit: int, *, separator: str = ", ") -> str:
    """Join the items; those that do not fit into ``limit`` characters are counted instead.

    The length is counted as it will be after escaping; an item is put on one line and cut
    to 200 characters.
    """
    room = limit - len(" and 999999999 more")
    shown: list[str] = []
    length = 0
    for item in map(_short, items):
        length += len(escape(item)) + len(separator)
        if length > room:
            break
        shown.append(item)
    left = len(items) - len(shown)
    if not left:
        return separator.join(shown)
    return f"{separator.join(shown)} and {left:,} more".strip()


def _short(item: str) -> str:
    item = showable(one_line(item))
    return item if len(item) <= _MAX_ITEM else item[:_MAX_ITEM] + _CUT
