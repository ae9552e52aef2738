"""How fast texts are analysed, against Presidio as it comes: same model, same recognizers, two processes.

Presidio's phone recognizer and analyzer and spaCy's own matrix products and processes on one side, this
engine on the other, in turns. Every finding of the faithful tier is compared (type, start, end, score). The
texts are made from a seed.

Prints one JSON line; ends with 1 when findings differ, or a goal is missed.
"""

from __future__ import annotations

import json
import logging
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from airflow_approvals.detection.engine import Engine
from airflow_approvals.detection.pipeline import DEFAULT_MODEL, _ner_configuration

REPEATS = 5
PROCESSES = 2
GOALS = {"prose": 3.0, "logs": 3.0, "cells": 4.0}

FIRST = ("Ada", "Grace", "Oluwaseun", "Wei", "Siobhan", "Jose", "Fatima", "Yuki", "Priya", "Lars")
LAST = ("Lovelace", "Hopper", "Adeyemi", "Zhang", "Murphy", "Garcia", "Haddad", "Tanaka", "Patel", "Olsen")
TOWNS = ("Paris", "Lagos", "Osaka", "Dublin", "Bergen", "Austin", "Pune", "Lyon")
VERBS = ("called", "wrote", "asked for a refund", "changed the order", "moved house", "paid")


def prose(draw: random.Random) -> str:
    """Three sentences of a support ticket."""
    name, pick = f"{draw.choice(FIRST)} {draw.choice(LAST)}", draw.randrange
    return (
        f"{name} from {draw.choice(TOWNS)} {draw.choice(VERBS)} on {pick(1, 29)} May 20{pick(10, 26)}. "
        f"The order {pick(10**6)} had not arrived, and nobody had answered the letter of last week. "
        f"We wrote back to {name.split(maxsplit=1)[0].lower()}.{pick(99)}@example.com and will call "
        f"+44 20 7946 0{pick(100, 999)}."
    )


def log(draw: random.Random) -> str:
    """A line of an access log."""
    pick = draw.randrange
    address = ".".join(str(pick(1, 255)) for _ in range(4))
    return (
        f"2026-0{pick(1, 9)}-1{pick(9)}T0{pick(9)}:1{pick(9)}:3{pick(9)}Z INFO [worker-{pick(99)}] "
        f"GET /api/v2/users/{pick(10**6)} from {address} took {pick(999)}ms"
    )


def cell(draw: random.Random) -> str:
    """A cell of a table."""
    pick = draw.randrange
    return draw.choice(
        [
            f"{draw.choice(FIRST)} {draw.choice(LAST)}",
            f"{draw.choice(LAST).lower()}{pick(999)}@example.com",
            f"({pick(200, 999)}) 555-0{pick(100, 199)}",
            str(pick(10**5)),
            f"20{pick(10, 26)}-0{pick(1, 9)}-1{pick(9)}",
            f"{draw.choice(TOWNS)} {pick(99)}",
            f"SKU-{pick(10**5)}",
        ]
    )


CORPORA: dict[str, tuple[Callable[[random.Random], str], int]] = {
    "prose": (prose, 200),
    "logs": (log, 400),
    "cells": (cell, 800),
}


def texts(kind: str) -> list[str]:
    """Return distinct texts of a kind, the same in every run."""
    make, count = CORPORA[kind]
    draw = random.Random(f"masking-{kind}")  # noqa: S311 - texts, no secrets
    made: dict[str, None] = {}
    while len(made) < count:
        made[make(draw)] = None
    return list(made)


def stock() -> Any:
    """Presidio's own batch engine, with the model as spaCy loads it."""
    from presidio_analyzer import AnalyzerEngine, BatchAnalyzerEngine
    from presidio_analyzer import predefined_recognizers as presidio
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    from airflow_approvals.detection.recognizers import build_registry

    models = [{"lang_code": "en", "model_name": DEFAULT_MODEL}]
    pipeline = SpacyNlpEngine(models=models, ner_model_configuration=_ner_configuration())
    pipeline.load()
    registry = build_registry(pipeline, wide=False)
    registry.remove_recognizer("PhoneRecognizer")
    registry.add_recognizer(presidio.PhoneRecognizer(name="PhoneRecognizer"))
    return BatchAnalyzerEngine(
        AnalyzerEngine(registry=registry, nlp_engine=pipeline, supported_languages=["en"])
    )


def facts(findings: Sequence[Any]) -> list[tuple[str, int, int, float]]:
    """Return what has to be equal."""
    return sorted((f.entity_type, f.start, f.end, round(f.score, 6)) for f in findings)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return seconds and result."""
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def measure(kind: str, theirs: Any, engines: dict[str, Engine]) -> dict[str, float]:
    """Return ratios to Presidio, and the share of texts with equal findings."""
    made = texts(kind)
    spent: dict[str, list[float]] = {name: [] for name in ("stock", *engines)}
    same = 0.0
    for _ in range(REPEATS):
        analyse = partial(theirs.analyze_iterator, language="en", batch_size=64, n_process=PROCESSES)
        seconds, expected = timed(partial(analyse, made))
        spent["stock"].append(seconds)
        for name, engine in engines.items():
            seconds, found = timed(partial(engine.analyze, made))
            spent[name].append(seconds)
            if name == "faithful":
                same = sum(facts(a) == facts(b) for a, b in zip(found, expected, strict=True)) / len(made)
    medians = {name: statistics.median(seconds) for name, seconds in spent.items()}
    size = sum(len(text.encode()) for text in made) / 1e6
    print(f"{kind}: {', '.join(f'{name} {size / seconds:.3f} MB/s' for name, seconds in medians.items())}")
    ratios = {f"{kind}_{name}_x": round(medians["stock"] / medians[name], 2) for name in engines}
    return {**ratios, f"{kind}_same": round(same, 4)}


def main() -> None:
    """Measure and print."""
    logging.getLogger("presidio-analyzer").setLevel(logging.CRITICAL)
    theirs = stock()
    engines = {tier: Engine(tier, processes=PROCESSES) for tier in ("faithful", "patterns")}
    figures: dict[str, float] = {}
    for kind in CORPORA:
        figures |= measure(kind, theirs, engines)
    reached = {
        f"{kind}_faithful_{goal:g}x": figures[f"{kind}_faithful_x"] >= goal for kind, goal in GOALS.items()
    }
    reached["same_findings"] = all(figures[f"{kind}_same"] >= 0.999 for kind in CORPORA)
    print(json.dumps({"name": "masking", "figures": figures, "reached": reached}))
    if missed := [name for name, is_reached in reached.items() if not is_reached]:
        raise SystemExit(f"Goals that are missed: {', '.join(missed)}.")


if __name__ == "__main__":
    main()
