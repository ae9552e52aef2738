"""More processes find what one finds, fail as one fails, and never outlive the process that began them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from presidio_analyzer import LocalRecognizer

from airflow_approvals.detection import Engine
from airflow_approvals.errors import DetectionError
from tests.detection.engines import masking_engine

TEXTS = [
    f"Ada Lovelace wrote to carol{n}@example.com from Paris, card 4111 1111 1111 1111" for n in range(70)
]
SECRET = "-".join(("canary", "value", "8"))

ORPHANED = """
import os, time
from airflow_approvals.detection import Engine
import psutil
engine = Engine("patterns", processes=2)
engine.analyze([f"carol{n}@example.com" for n in range(64)])
print(*(child.pid for child in psutil.Process().children()), flush=True)
time.sleep(600)
"""


def facts(found: Any) -> list[list[tuple[Any, ...]]]:
    return [
        [
            (f.entity_type, f.start, f.end, f.score, f.recognition_metadata["recognizer_name"])
            for f in findings
        ]
        for findings in found
    ]


class _Failing(LocalRecognizer):
    """Fails on one text, with the text in its error."""

    def load(self) -> None:
        """Do nothing."""

    def analyze(self, text: str, entities: list[str], nlp_artifacts: Any = None) -> list[Any]:
        if SECRET in text:
            raise ValueError(text)
        return []


@pytest.fixture
def two() -> Iterator[Engine]:
    engine = Engine("patterns", processes=2)
    yield engine
    engine.close()


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]


def gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not any(_runs(pid) for pid in pids):
            return True
        time.sleep(0.1)
    return False


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_two_processes_find_what_one_finds() -> None:
    one, two = masking_engine(), Engine(profile="llm-training", processes=2)
    try:
        for context in ([], ["driver", "license"]):
            texts = [*TEXTS, "", "A1234567", *TEXTS[:3], "bad \ud800 surrogate of carol@example.com"]
            assert facts(two.analyze(texts, context)) == facts(one.analyze(texts, context))
    finally:
        two.close()


def test_a_few_texts_are_not_worth_a_process(two: Engine) -> None:
    before = {child.pid for child in children()}
    assert len(two.analyze(TEXTS[:5])) == 5
    assert {child.pid for child in children()} == before


def test_a_fault_in_a_worker_is_the_same_clear_error_and_leaves_no_process(two: Engine) -> None:
    before = {child.pid for child in children()}
    two._analyzer.registry.add_recognizer(_Failing(supported_entities=["CANARY"], name="failing"))
    with pytest.raises(
        DetectionError, match="failed with ValueError; nothing was taken for scanned"
    ) as refused:
        two.analyze([*TEXTS, SECRET])
    assert SECRET not in "".join(traceback.format_exception(refused.value))
    assert gone([child.pid for child in children() if child.pid not in before])
    assert len(two.analyze(TEXTS)) == len(TEXTS), "the next batch begins new ones"


def test_a_worker_that_is_killed_is_an_error_and_the_next_batch_works(two: Engine) -> None:
    before = {child.pid for child in children()}
    two.analyze(TEXTS)
    begun = [child for child in children() if child.pid not in before]
    assert len(begun) == 2
    begun[0].kill()
    assert gone([begun[0].pid])
    with pytest.raises(DetectionError, match=r"worker process of the scan ended.*fewer processes"):
        two.analyze(TEXTS)
    assert len(two.analyze(TEXTS)) == len(TEXTS)


def test_closing_ends_them(two: Engine) -> None:
    before = {child.pid for child in children()}
    two.analyze(TEXTS)
    begun = [child.pid for child in children() if child.pid not in before]
    two.close()
    assert gone(begun)


def test_workers_end_when_their_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", ORPHANED], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    assert len(pids) == 2
    assert gone(pids)
