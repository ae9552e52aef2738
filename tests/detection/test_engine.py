"""The engine fails closed, stays silent and needs no network."""

from __future__ import annotations

import logging
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from presidio_analyzer import BatchAnalyzerEngine, LocalRecognizer

from airflow_approvals.detection import Engine
from airflow_approvals.detection import engine as engine_module
from airflow_approvals.errors import DetectionError
from tests.detection import canaries
from tests.detection.engines import classification_engine, masking_engine

#: Put together, so that the line of code that a traceback shows does not hold it.
SECRET = "-".join(("canary", "value", "7"))

OFFLINE = """
import socket
def refuse(*args, **kwargs):
    raise SystemExit("network was asked for")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from airflow_approvals.detection import Engine
found = Engine().analyze(["write to carol@example.co.uk or dave@host.internal, see www.example.com"])
print(sorted({f.entity_type for f in found[0]}))
try:
    Engine(model="en_core_web_lg")
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("name", canaries.ALL)
def test_every_kind_is_found_alone_and_in_a_sentence(name: str) -> None:
    kind, value = canaries.ALL[name]
    alone, inside = masking_engine().analyze([value, f"Please look at {value} today."])
    for findings, text in ((alone, value), (inside, f"Please look at {value} today.")):
        covered = {i for f in findings for i in range(f.start, f.end)}
        start = text.index(value)
        assert kind in {f.entity_type for f in findings}
        assert set(range(start, start + len(value))) <= covered


def test_findings_equal_those_of_presidio_for_the_same_recognizers() -> None:
    texts = [value for _, value in canaries.ALL.values()] + ["Ada Lovelace lived in London.", "T-17", "42"]
    engine = Engine()
    stock = BatchAnalyzerEngine(engine._analyzer).analyze_iterator(texts, language="en", batch_size=64)

    def facts(findings: object) -> list[tuple[str, int, int, float]]:
        return sorted((f.entity_type, f.start, f.end, f.score) for f in findings)

    assert [facts(f) for f in engine.analyze(texts)] == [facts(f) for f in stock]


def test_engine_works_without_a_network_and_names_a_missing_model() -> None:
    done = subprocess.run([sys.executable, "-c", OFFLINE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert "EMAIL_ADDRESS" in done.stdout
    assert "DetectionError The language model 'en_core_web_lg' is not installed." in done.stdout
    assert "airflow-approvals[demo-model]" in done.stdout


def test_patterns_take_no_model_and_find_what_has_a_form() -> None:
    engine = Engine("patterns", profile="llm-training")
    assert (engine.model, "patterns" in engine.description) == ("none", True)
    texts = [
        "call (212) 555-0187 or carol@example.com",
        "card number 4111 1111 1111 1111",
        "Frau Wójcik, IBAN DE89370400440532013000",
        "Ada Lovelace lives in Paris",
    ]
    found = [{finding.entity_type for finding in findings} for findings in engine.analyze(texts)]
    assert {"PHONE_NUMBER", "EMAIL_ADDRESS"} <= found[0]
    assert "CREDIT_CARD" in found[1]
    assert {"PERSON", "IBAN_CODE"} <= found[2]
    assert found[3] == set(), "a name without a form takes a model"


def test_patterns_find_what_the_faithful_tier_finds_without_its_model() -> None:
    texts = [value for _, value in canaries.ALL.values()]
    texts += [f"my account number is {number}" for number in ("12345678901", "078-05-1120", "A1234567")]

    def by_form(engine: Engine) -> list[set[tuple[str, int, int]]]:
        return [
            {
                (f.entity_type, f.start, f.end)
                for f in findings
                if (f.recognition_metadata or {}).get("recognizer_name") != "SpacyRecognizer"
            }
            for findings in engine.analyze(texts)
        ]

    assert by_form(Engine("patterns")) == by_form(Engine())


def test_patterns_load_no_model(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom airflow_approvals.detection import Engine\n"
        "import spacy\nspacy.load = lambda *a, **k: sys.exit('a model was loaded')\n"
        "print(len(Engine('patterns').analyze(['ip 203.0.113.77'])[0]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()[:1] > "0") == (0, True), done.stderr


def test_unknown_tier_is_one_clear_error() -> None:
    with pytest.raises(DetectionError, match=r"no engine tier 'quick'.*faithful and patterns"):
        Engine(tier="quick")


class _Failing(LocalRecognizer):
    def __init__(self) -> None:
        super().__init__(supported_entities=["NOTHING"])

    def load(self) -> None:
        """Do nothing."""

    def analyze(self, text: str, entities: list[str], nlp_artifacts: object = None) -> list[object]:
        raise ValueError(f"cannot digest {text}")


def test_failing_recognizer_stops_the_scan_and_gives_nothing_away(caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine()
    engine._analyzer.registry.add_recognizer(_Failing())
    with caplog.at_level(logging.DEBUG), pytest.raises(DetectionError, match="ValueError") as caught:
        engine.analyze([SECRET])
    told = str(caught.value) + "".join(traceback.format_exception(caught.value)) + caplog.text
    assert SECRET not in told
    assert caught.value.__context__ is None


class _TimingOut(_Failing):
    def analyze(self, text: str, entities: list[str], nlp_artifacts: object = None) -> list[object]:
        log = logging.getLogger("presidio-analyzer")
        log.warning("Regex pattern '%s' timed out after %s seconds", text, 60)
        return []


def test_pattern_that_runs_out_of_time_stops_the_scan(caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine()
    engine._analyzer.registry.add_recognizer(_TimingOut())
    with caplog.at_level(logging.DEBUG), pytest.raises(DetectionError, match="out of time"):
        engine.analyze(["the canary value"])
    assert "canary" not in caplog.text


def test_equal_texts_are_analysed_once_and_empty_ones_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = masking_engine()
    seen: list[str] = []
    run = engine._guarded
    monkeypatch.setattr(engine, "_guarded", lambda texts, context: seen.extend(texts) or run(texts, context))
    found = engine.analyze(["carol@example.com", "", "carol@example.com", "  "])
    assert seen == ["carol@example.com"]
    assert [len(f) > 0 for f in found] == [True, False, True, False]


def test_context_raises_what_is_too_uncertain_alone() -> None:
    alone, with_header = (
        masking_engine().analyze(["A1234567"], context=words)[0] for words in ([], ["driver", "license"])
    )
    assert [f.entity_type for f in alone if f.entity_type == "US_DRIVER_LICENSE"] == []
    assert "US_DRIVER_LICENSE" in {f.entity_type for f in with_header}


def test_long_text_is_analysed_in_pieces_with_offsets_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "PIECE_CHARS", 200)
    monkeypatch.setattr(engine_module, "OVERLAP_CHARS", 60)
    text = "".join(f"line {n} says carol{n}@example.com. " for n in range(40))
    findings = masking_engine().analyze([text])[0]
    covered = {text[f.start : f.end] for f in findings if f.entity_type == "EMAIL_ADDRESS"}
    assert {f"carol{n}@example.com" for n in range(40)} <= covered


def test_lone_surrogate_does_not_stop_the_scan() -> None:
    found = masking_engine().analyze(["\ud800 carol@example.com"])[0]
    assert (2, 19) in [(f.start, f.end) for f in found if f.entity_type == "EMAIL_ADDRESS"]


def test_one_huge_word_is_scanned_in_bounded_time() -> None:
    assert masking_engine().analyze(["x" * 300_000]) is not None


def test_classification_looks_for_more_than_masking() -> None:
    assert masking_engine().entity_types < classification_engine().entity_types
    assert classification_engine().description != masking_engine().description
