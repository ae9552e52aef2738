"""Which secrets are found whole, in which surroundings, and what is taken for one in clean logs.

61 kinds of secrets with 20 tokens each in seven surroundings, and 6,000 lines of logs without any, all from a
seed. A kind counts when every character of every one of its tokens lies in a finding, in every surrounding.
Peers run in an environment of their own (``.venv-peers``, made by ``make bench-secrets``) and are left out
where there is none.

Prints a table and one JSON line; ends with 1 when a goal is missed: all kinds but one, no false positive.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.corpora.clean_logs import lines
from benchmarks.corpora.secret_kinds import KINDS
from benchmarks.corpora.secret_surroundings import SURROUNDINGS, Case, cases

ROOT = Path(__file__).resolve().parents[1]
PEERS = Path(os.environ.get("APPROVALS_PEERS", ROOT / ".venv-peers")) / "bin/python"
Spans = list[list[tuple[int, int]]]


@dataclass(frozen=True)
class Scanned:
    """What a tool found in texts, and what it took: seconds until ready, seconds of processor time."""

    version: str
    ready: float
    spent: float
    spans: Spans


def ours(texts: list[str]) -> Scanned:
    """Scan with this package's rules."""
    begun = time.perf_counter()
    from airflow_approvals.detection.secrets import find_secrets

    ready, started = time.perf_counter() - begun, time.process_time()
    spans = [[(secret.start, secret.end) for secret in find_secrets(text)] for text in texts]
    return Scanned("", ready, time.process_time() - started, spans)


def peer(tool: str, texts: list[str]) -> Scanned:
    """Scan with somebody else's, in their environment."""
    script = ROOT / "benchmarks/peers/secret_scanners.py"
    asked = json.dumps({"tool": tool, "texts": texts})
    done = subprocess.run([str(PEERS), str(script)], input=asked, capture_output=True, text=True, check=True)  # noqa: S603
    return Scanned(**json.loads(done.stdout))


def whole(case: Case, spans: list[tuple[int, int]]) -> bool:
    """Whether every character of the secret lies in a span."""
    left = set(range(case.start, case.end))
    for start, end in spans:
        left.difference_update(range(start, end))
    return not left


def exact(case: Case, spans: list[tuple[int, int]]) -> bool:
    """Whether the spans cover the secret and nothing beside it."""
    return whole(case, spans) and all(case.start <= start and end <= case.end for start, end in spans)


def figures(corpus: list[Case], clean: list[str], scanned: Scanned) -> dict[str, float]:
    """Return what the table shows of one tool."""
    missed: dict[str, set[str]] = defaultdict(set)
    wide = set()
    for case, spans in zip(corpus, scanned.spans, strict=False):
        if not whole(case, spans):
            missed[case.surrounding].add(case.kind)
        if not exact(case, spans):
            wide.add(case.kind)
    plain = [missed[name] for name in SURROUNDINGS if name != "base64 blob"]
    size = sum(len(text.encode()) for text in (*(case.text for case in corpus), *clean)) / 1e6
    return {
        "kinds": len(KINDS) - len(set().union(*missed.values())),
        "kinds in six": len(KINDS) - len(set().union(*plain)),
        **{f"in {name}": len(KINDS) - len(missed[name]) for name in SURROUNDINGS},
        "kinds exact": len(KINDS) - len(wide),
        "false positives": sum(bool(spans) for spans in scanned.spans[len(corpus) :]),
        "MB/s": round(size / scanned.spent, 2),
    }


def main() -> None:
    """Measure and print."""
    corpus, clean = list(cases()), list(lines())
    texts = [*(case.text for case in corpus), *clean]
    scans = {"ours": ours(texts)}
    if PEERS.exists():
        scans |= {tool: peer(tool, texts) for tool in ("kingfisher", "detect-secrets")}
    else:
        print("Peers are not installed; `make bench-secrets` does it.")
    table = {tool: figures(corpus, clean, scanned) for tool, scanned in scans.items()}
    print(f"{len(KINDS)} kinds, {len(corpus)} texts, {len(clean)} clean lines")
    for row in ("", *table["ours"]):
        print(f"{row:<16}" + "".join(f"{shown[row] if row else tool:>16}" for tool, shown in table.items()))
    for tool, scanned in scans.items():
        print(f"{tool} {scanned.version}: ready after {scanned.ready:.1f} s")
    mine = table["ours"]
    reached = {
        "kinds_fully_found": mine["kinds"] >= len(KINDS) - 1,
        "no_false_positive": mine["false positives"] == 0,
    }
    print(json.dumps({"name": "secrets", "figures": table, "reached": reached}))
    if missed := [name for name, is_reached in reached.items() if not is_reached]:
        raise SystemExit(f"Goals that are missed: {', '.join(missed)}.")


if __name__ == "__main__":
    main()
