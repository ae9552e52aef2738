"""Runs other people's secret scanners on texts, in an environment of their own.

Reads ``{"tool": name, "texts": [...]}`` from standard input; writes one JSON object: the version, seconds to
get ready, seconds of processor time for all texts, and the spans of each text in characters.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

Span = tuple[int, int]
Scan = Callable[[str], list[Span]]


def kingfisher() -> Scan:
    """Return kingfisher's scanner: all bundled rules, base64 too, no validation, no network."""
    from kingfisher_sdk import Rules, Scanner

    scanner = Scanner(Rules(cache=False))

    def scan(text: str) -> list[Span]:
        data = text.encode()
        places = (finding.location for finding in scanner.scan(data) if finding.visible)
        return [(_characters(data, p["start_offset"]), _characters(data, p["end_offset"])) for p in places]

    return scan


def _characters(data: bytes, offset: int) -> int:
    return len(data[:offset].decode(errors="ignore"))


def detect_secrets() -> Scan:
    """Return detect-secrets' file scanner with the plugins and filters it comes with."""
    from detect_secrets.core.scan import scan_file
    from detect_secrets.settings import default_settings

    entered = ExitStack()  # settings and folder hold as long as this does
    entered.enter_context(default_settings())
    path = Path(entered.enter_context(TemporaryDirectory())) / "text.log"

    def scan(text: str, _entered: ExitStack = entered) -> list[Span]:
        path.write_text(text, encoding="utf-8")
        values = {found.secret_value for found in scan_file(str(path))}
        return [span for value in values if value for span in _places(text, value)]

    return scan


def _places(text: str, value: str) -> Iterator[Span]:
    start = text.find(value)
    while start >= 0:
        yield start, start + len(value)
        start = text.find(value, start + len(value))


TOOLS = {
    "kingfisher": (kingfisher, "kingfisher-secret-scanner"),
    "detect-secrets": (detect_secrets, "detect-secrets"),
}


def main() -> None:
    """Scan what stands on standard input."""
    asked = json.load(sys.stdin)
    make, package = TOOLS[asked["tool"]]
    started = time.perf_counter()
    scan = make()
    ready, spent = time.perf_counter() - started, time.process_time()
    spans = [scan(text) for text in asked["texts"]]
    answer = {
        "version": version(package),
        "ready": ready,
        "spent": time.process_time() - spent,
        "spans": spans,
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
