"""Draws the pictures of the documentation from the real Block Kit: ``python docs/images/draw.py [NAME …]``.

What is drawn is what the channel renders; Slack draws it in its own way. It needs Chromium
(Debian: ``apt-get install chromium``); tests do not.
"""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from airflow_approvals.channels import slack_forms  # noqa: E402
from airflow_approvals.channels.demands import Demands  # noqa: E402
from airflow_approvals.channels.facts import RequestFacts  # noqa: E402
from airflow_approvals.channels.slack_messages import outcome_blocks, render, reply_blocks  # noqa: E402
from airflow_approvals.core.digest import sha256_digest  # noqa: E402
from airflow_approvals.core.models import RequestState, Verdict  # noqa: E402
from tests.channels.facts_for_tests import some_facts  # noqa: E402

WIDTH = 760
STYLE = """
body {font: 15px/1.45 "Liberation Sans", Arial, sans-serif; color: #1d1c1d; margin: 20px; width: 720px}
.from {font-weight: bold; margin: 0 0 6px} .from span, .context {color: #616061; font-size: 12px}
.header {font-size: 18px; font-weight: bold; margin: 4px 0 8px}
.section, .fields, .actions, .context, .input {margin: 8px 0; white-space: pre-wrap}
.fields {display: grid; grid-template-columns: 1fr 2fr; gap: 4px 16px} .fields div {overflow-wrap: anywhere}
.button {display: inline-block; border: 1px solid #bbb; border-radius: 4px; padding: 5px 12px;
  margin-right: 8px; font-weight: bold}
.primary {background: #007a5a; color: white} .danger {background: #e01e5a; color: white}
.context {display: flex; gap: 12px}
.thread {border-left: 3px solid #ddd; padding-left: 14px; margin: 10px 0 0 12px}
hr {border: 0; border-top: 1px solid #ddd} a, .mention {color: #1264a3; white-space: nowrap}
.box {border: 1px solid #bbb; border-radius: 4px; height: 26px; color: #868686; padding: 5px 8px}
.view {border: 1px solid #ccc; border-radius: 8px; padding: 16px} .bar {text-align: right}
"""

Block = dict[str, Any]


def drawn(block: Block) -> str:
    """Return one block as HTML; a block that is not known is an error, never a gap."""
    return _BLOCKS[block["type"]](block)


def _text(part: Block) -> str:
    """What Slack unescapes, a browser does too; markup is ours alone."""
    if part["type"] == "plain_text":
        return str(part["text"])
    said = re.sub(r"<@(\w+)>", r'<span class="mention">@\1</span>', part["text"])
    said = re.sub(r"<(https?:[^|>]+)\|([^>]+)>", r'<a href="\1">\2</a>', said)
    return re.sub(r"\*([^*]+)\*", r"<b>\1</b>", said)


def _div(kind: str, inside: str) -> str:
    return f'<div class="{kind}">{inside}</div>'


def _section(block: Block) -> str:
    if "fields" in block:
        return _div("fields", "".join(_div("cell", _text(cell)) for cell in block["fields"]))
    return _div("section", _text(block["text"]))


def _actions(block: Block) -> str:
    return _div(
        "actions", "".join(_button(one["text"]["text"], one.get("style", "")) for one in block["elements"])
    )


def _button(text: str, style: str) -> str:
    return f'<span class="button {style}">{text}</span>'


def _input(block: Block) -> str:
    optional = " <small>(optional)</small>" if block.get("optional") else ""
    hint = _div("context", _text(block["hint"])) if "hint" in block else ""
    given = block["element"].get("initial_value", "")
    return _div("input", f"<b>{_text(block['label'])}</b>{optional}{_div('box', html.escape(given))}{hint}")


_BLOCKS: dict[str, Callable[[Block], str]] = {
    "header": lambda block: _div("header", _text(block["text"])),
    "section": _section,
    "actions": _actions,
    "context": lambda block: _div(
        "context", "".join(f"<span>{_text(part)}</span>" for part in block["elements"])
    ),
    "divider": lambda block: "<hr>",
    "input": _input,
}


def message(blocks: list[Block]) -> str:
    """Return a message of the app as HTML."""
    return '<p class="from">Airflow Approvals <span>APP</span></p>' + "".join(map(drawn, blocks))


def view(form: Block) -> str:
    """Return a modal as HTML."""
    buttons = _button(form["close"]["text"], "") + _button(form["submit"]["text"], "primary")
    title = _div("header", form["title"]["text"])
    return _div("view", title + "".join(map(drawn, form["blocks"])) + _div("bar", buttons))


def picture(name: str, page: str) -> None:
    """Write a page as ``name.png`` beside this file, as high as it is."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        measured = "<script>document.title = document.documentElement.scrollHeight</script>"
        file.write_text(f"<!doctype html><meta charset=utf-8><style>{STYLE}</style>{page}{measured}")
        tall = re.search(r"<title>(\d+)</title>", _chromium(folder, "--dump-dom", file.as_uri()))
        height = int(tall.group(1)) + 10 if tall else 1200
        size = f"--window-size={WIDTH},{height}"
        _chromium(folder, f"--screenshot={HERE / name}.png", size, "--hide-scrollbars", file.as_uri())


def _chromium(folder: str, *arguments: str) -> str:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        raise SystemExit("No Chromium was found; on Debian: apt-get install chromium.")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    profile = [f"--user-data-dir={folder}/profile", f"--window-size={WIDTH},200"]
    done = subprocess.run(
        [found, *flags, *profile, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def facts(**changes: Any) -> RequestFacts:
    """The request of the demo, the second time it is made."""
    counts = (
        ("city", "LOCATION", 500),
        ("customer_name", "PERSON", 500),
        ("email", "EMAIL_ADDRESS", 500),
        ("phone", "PHONE_NUMBER", 498),
        ("iban", "IBAN_CODE", 267),
        ("message", "EMAIL_ADDRESS", 74),
    )
    shown = {
        "manifest_digest": sha256_digest(b"tickets.csv, masked"),
        "sink": "training-bucket",
        "destination": "s3://training/in",
        "label": "internal",
        "object_count": 1,
        "size": 111_740,
        "coverage": (7500, 7500),
        "not_scanned": 0,
        "counts": counts,
        "requesters": ("alice (triggered the run)",),
        "rules": ("one-data-owner-who-did-not-start-it",),
        "seats": ("1 of data-owners",),
        "author_reason": "Monthly refresh of the training set: tickets.csv",
        "expires_at": datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
        "last_approved_at": datetime(2026, 2, 1, 9, 12, tzinfo=UTC),
        "changes": ("+ column iban", "+ masked IBAN_CODE in iban", "rows: 410 → 500 (+90)"),
        "reported_by": "task tickets.gate of secure_llm_export, version 3",
    }
    return some_facts(**{**shown, **changes})


def thread() -> str:
    """A request that was approved, with its thread and what its requester is told."""
    because = "Approved by bob (data-owners)."
    closed = facts(state=RequestState.APPROVED, decided_because=because, author_reason=None)
    said = [
        ("This request still waits for a decision. May still decide: bob, carol.", ("U0BOB", "U0CAROL")),
        (because, ()),
        ("Released: its task tickets.release has finished in success.", ()),
    ]
    replies = "".join(message(reply_blocks(text, people, str(n))) for n, (text, people) in enumerate(said))
    told = f"Your request export to {closed.sink}: approved. {because}"
    private = _div("context", "To alice, in private:") + message(outcome_blocks(told, closed))
    return message(render(closed).blocks) + _div("thread", replies) + "<hr>" + private


def form() -> str:
    """The form behind Approve."""
    return view(slack_forms.render(facts(), Verdict.APPROVE, Demands(), "request:nonce"))


PICTURES: dict[str, Callable[[], str]] = {
    "slack-message": lambda: message(render(facts()).blocks),
    "slack-form": form,
    "slack-thread": thread,
}


def main(names: Sequence[str]) -> None:
    """Draw the named pictures, all without a name."""
    for name in names or PICTURES:
        picture(name, PICTURES[name]())


if __name__ == "__main__":
    main(sys.argv[1:])
