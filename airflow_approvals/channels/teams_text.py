"""Text for Adaptive Cards: nothing that others wrote is ever markup, a mention or a link.

A ``TextBlock`` and the values of a ``FactSet`` are Markdown, links included. A ``TextRun`` of a
``RichTextBlock`` is not, so every text that is not a constant of ours goes into one. What a host
still replaces in there, ``{{DATE(…)}}`` and ``{{TIME(…)}}``, is taken apart.

Source: https://adaptivecards.io/explorer/TextRun.html ("Markdown is not supported");
https://learn.microsoft.com/en-us/adaptive-cards/authoring-cards/text-features.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote as percent_encode
from urllib.parse import urlsplit

from airflow_approvals.channels.slack_text import one_line, showable

Element = dict[str, Any]

_CUT = " …"
_DOUBLED = re.compile(r"\{(?=\{)")
_NAME = re.compile(r"[^\w .'-]+")


def plain(text: str, limit: int) -> str:
    """Return the text on one line, showable, in at most ``limit`` characters; never empty."""
    text = _DOUBLED.sub("{ ", one_line(showable(text)))
    return (text if len(text) <= limit else text[: limit - len(_CUT)].rstrip() + _CUT) or "-"


def paragraph(*runs: Element, spacing: str = "Small") -> Element:
    """Return a paragraph of runs."""
    return {"type": "RichTextBlock", "spacing": spacing, "inlines": list(runs)}


def run(text: str, limit: int, **look: Any) -> Element:
    """Return text of any origin, without markup."""
    return {"type": "TextRun", "text": plain(text, limit), **look}


def fact(name: str, value: str, limit: int) -> Element:
    """Return a name of ours and, beside it, a value of any origin."""
    named = {"type": "TextRun", "text": f"{name}: ", "weight": "Bolder"}
    return paragraph(named, run(value, limit))


def title(words: str, color: str) -> Element:
    """Return a headline."""
    return paragraph(run(words, 200, size="Large", weight="Bolder", color=color))


def box(style: str, items: list[Element]) -> Element:
    """Return the elements on a ground of their own."""
    return {"type": "Container", "style": style, "items": items}


def lines(heading: str, items: list[str], *, most: int, limit: int) -> list[Element]:
    """Return a title of ours and a line per item; the items that do not fit are counted instead."""
    shown = [paragraph(run(item, limit), spacing="None") for item in items[:most]]
    if left := len(items) - most if len(items) > most else 0:
        shown.append(paragraph(run(f"and {left:,} more", 100, isSubtle=True), spacing="None"))
    return [paragraph(run(heading, 100, weight="Bolder"), spacing="Medium"), *shown]


def mention(account: str, name: str) -> tuple[str, Element]:
    """Return the text that mentions an account of Entra, and the entity that goes with it.

    Source: https://learn.microsoft.com/en-us/microsoftteams/platform/task-modules-and-cards/cards/cards-format
    (user mention by Microsoft Entra object id in Adaptive Cards of bots and webhooks).
    """
    text = f"<at>{_NAME.sub('', name).strip() or 'approver'}</at>"
    return text, {"type": "mention", "text": text, "mentioned": {"id": account, "name": text[4:-5]}}


def open_url(title: str, url: str) -> list[Element]:
    """Return a button that opens a page, or none when the address is not one of the web."""
    safe = percent_encode(url, safe=":/?#[]@!$&'()*+,;=%~-._")
    parts = urlsplit(safe)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return []
    return [{"type": "Action.OpenUrl", "title": title, "url": safe}]
