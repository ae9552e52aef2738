"""Text for Slack: nothing that others wrote is ever markup, a mention or a link.

Values of others go into ``plain_text`` objects, which know no formatting, and are escaped as
well, because ``<!channel>`` and ``<@U…>`` are recognised by their angle brackets.

Source: https://docs.slack.dev/messaging/formatting-message-text/ (escape ``&``, ``<``, ``>``);
https://docs.slack.dev/reference/block-kit/blocks/ (lengths).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote as percent_encode

Block = dict[str, Any]

#: Slack's limits, in characters or items.
MAX_BLOCKS = 50
MAX_HEADER = 150
MAX_SECTION = 3000
MAX_FIELD = 2000
MAX_FIELDS = 10
MAX_FALLBACK = 3000
#: Of all blocks of a message together, as compact JSON in characters. Slack publishes no number and
#: answers ``msg_blocks_too_long`` from about 13,200 on; a tenth is left free.
#: Source: https://github.com/slackapi/bolt-js/issues/2509.
MAX_MESSAGE = 12_000
MAX_MENTIONS = 50

_MAX_ITEM = 200
_CUT = " …"
_ADDRESS = re.compile(r"https?://[^\s<>|]{1,1500}")
_USER = re.compile(r"[UW][A-Z0-9]{2,30}")
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


def link(url: str, words: str) -> Block:
    """Return a link of ours; the URL cannot end the link and begin something else."""
    safe = percent_encode(url, safe=":/?#[]@!$&'()*+,;=%~-._")
    return markup(f"<{escape(safe)}|{words}>")


def with_link(text: str, own_url: str) -> list[Block]:
    """Return plain text, and below it a link when the last line is an address of our own.

    :param own_url: what such an address has to lie below; empty for none.
    """
    said, _, last = text.rpartition("\n")
    if not (own_url and said and last.startswith(f"{own_url}/") and _ADDRESS.fullmatch(last)):
        return [{"type": "section", "text": plain(text, MAX_SECTION)}]
    return [
        {"type": "section", "text": plain(said, MAX_SECTION)},
        {"type": "section", "text": link(last, "Open in Airflow")},
    ]


def header(text: str, block_id: str) -> Block:
    """Return a header block."""
    return {"type": "header", "block_id": block_id, "text": plain(one_line(text), MAX_HEADER)}


def facts(pairs: list[tuple[str, str]], limit: int = MAX_FIELD) -> list[Block]:
    """Return sections that set names beside values, five pairs to a section.

    :param limit: how long a value may be.
    """
    step = MAX_FIELDS // 2
    return [
        {
            "type": "section",
            "fields": [cell for pair in pairs[start : start + step] for cell in _cells(pair, limit)],
        }
        for start in range(0, len(pairs), step)
    ]


def _cells(pair: tuple[str, str], limit: int) -> tuple[Block, Block]:
    name, value = pair
    return markup(f"*{name}*"), plain(one_line(value), limit)


def length(blocks: Sequence[Block]) -> int:
    """Return how long blocks are together, as compact JSON in characters."""
    return len(json.dumps(blocks, ensure_ascii=False, separators=(",", ":")))


def listing(title: str, text: str, limit: int = MAX_SECTION) -> list[Block]:
    """Return a title of ours and, under it, plain text of any origin in at most ``limit`` characters."""
    return [
        {"type": "section", "text": markup(f"*{title}*")},
        {"type": "section", "text": plain(text, limit)},
    ]


def mentions(users: Sequence[str]) -> str:
    """Return mentions of Slack users, at most fifty; what is no user id is left out."""
    known = [user for user in users if _USER.fullmatch(user)]
    return " ".join(f"<@{user}>" for user in known[:MAX_MENTIONS])


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
