"""No canary gets out: not into the copy, manifest, evidence, log, error or traceback."""

from __future__ import annotations

import json
import logging
import re
import traceback
from pathlib import Path

import pytest
from presidio_analyzer import LocalRecognizer, RecognizerResult

from airflow_approvals.core.digest import canonical_bytes
from airflow_approvals.core.evidence import Evidence
from airflow_approvals.data.classifying import classify_data
from airflow_approvals.data.masking import mask_data
from airflow_approvals.detection import Engine
from airflow_approvals.errors import DetectionError, FormatError
from tests.detection import canaries
from tests.detection.engines import classification_engine, masking_engine

VALUES = {name: value for name, (_, value) in canaries.ALL.items()}
#: A line with a bare number in it is refused as a header, see the test below.
IN_HEADERS = {name: value for name, value in VALUES.items() if not value.isdigit()}
ONE_LINE = {name: value for name, value in VALUES.items() if "\n" not in value}


def _needles(value: str) -> list[str]:
    """What of a value must not be seen anywhere: each of its lines, its plain digits."""
    lines = [line for line in value.split("\n") if "PRIVATE KEY" not in line]
    return [*lines, re.sub(r"[ -]", "", value)] if re.fullmatch(r"[\d -]+", value) else lines


def _assert_silent(text: str) -> None:
    told = [name for name, value in VALUES.items() if any(needle in text for needle in _needles(value))]
    assert told == []


def _csv_cell(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def _write_all(folder: Path) -> None:
    """Every canary in id-like, numeric, date and free-text columns, keys, headers and file names."""
    rows = ["ticket_id,amount,opened_at,message"]
    for index, value in enumerate(VALUES.values()):
        cell = _csv_cell(value)
        rows += [f"{cell},1,2026-01-01,x", f"T-{index},{cell},2026-01-01,x", f"T-{index},2,{cell},x"]
        rows += [f"T-{index},3,2026-01-01,{_csv_cell(f'Please see {value} and answer.')}"]
    (folder / "cells.csv").write_text("\n".join(rows) + "\n")
    for index, value in enumerate(IN_HEADERS.values()):
        (folder / f"header{index}.csv").write_text(f"id,{_csv_cell(value)},note\n1,2,3\n")
    lines = [json.dumps({"a": {"b": [value, {"c": f"It was {value}."}]}}) for value in VALUES.values()]
    lines += [json.dumps({value: 1}) for value in ONE_LINE.values()] + ['{"n": 4111111111111111}']
    (folder / "nested.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "app.log").write_text("".join(f"2026-01-01 INFO got {v} here\n" for v in VALUES.values()))
    (folder / "prose.txt").write_text("\n\n".join(f"They wrote\n{v}\nto us." for v in VALUES.values()))
    for value in ONE_LINE.values():
        if "/" not in value:
            (folder / f"{value}.txt").write_text("nothing\n")


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The masked tree and what was logged while it was made."""
    source = tmp_path_factory.mktemp("raw")
    _write_all(source)
    target = tmp_path_factory.mktemp("masked") / "copy"
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        mask_data(str(source), str(target), profile="llm-training", engine=masking_engine())
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    return target, "\n".join(said)


def test_no_canary_in_names_contents_manifest_or_log_of_the_copy(masked: tuple[Path, str]) -> None:
    target, log = masked
    files = [path for path in target.rglob("*") if path.is_file()]
    assert len(files) == 4 + 1 + len(IN_HEADERS) + sum("/" not in value for value in ONE_LINE.values())
    for path in files:
        _assert_silent(str(path.relative_to(target)))
        _assert_silent(path.read_text())
    _assert_silent(log)


def test_copy_keeps_rows_and_columns(masked: tuple[Path, str]) -> None:
    manifest = json.loads((masked[0] / "_manifest.json").read_text())
    objects = {entry["uri"]: entry for entry in manifest["objects"]}
    assert objects["cells.csv"]["rows"] == 4 * len(VALUES)
    assert objects["cells.csv"]["columns"] == ["ticket_id", "amount", "opened_at", "message"]
    assert all(len(objects[f"header{index}.csv"]["columns"]) == 3 for index in range(len(IN_HEADERS)))


def test_evidence_of_the_copy_finds_no_secret_and_shows_no_canary(masked: tuple[Path, str]) -> None:
    evidence = classify_data(str(masked[0]), engine=classification_engine())
    _assert_silent(canonical_bytes(evidence.to_document()).decode())
    secrets = {kind for kind, _ in canaries.SECRETS.values()}
    assert secrets.isdisjoint(evidence.findings)


def test_evidence_of_raw_data_finds_every_kind_and_shows_no_canary(tmp_path: Path) -> None:
    _write_all(tmp_path)
    evidence: Evidence = classify_data(str(tmp_path), engine=classification_engine())
    _assert_silent(canonical_bytes(evidence.to_document()).decode())
    assert {kind for kind, _ in canaries.SECRETS.values()} <= set(evidence.findings)
    assert evidence.label.word == "restricted"


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("form", ["a,b\n1,2\n{0},{0},{0},{0},{0}\n", 'a,b\n1,2\n{0}x"\n'])
def test_malformed_line_never_tells_its_content(tmp_path: Path, name: str, form: str) -> None:
    (tmp_path / "a.csv").write_text(form.format(VALUES[name]))
    with pytest.raises(FormatError) as caught:
        mask_data(
            str(tmp_path / "a.csv"), str(tmp_path / "out"), profile="logs", engine=masking_engine("logs")
        )
    _assert_silent("".join(traceback.format_exception(caught.value)))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("names", [[*VALUES], *([name] for name in VALUES if name not in IN_HEADERS)])
def test_first_line_of_values_never_tells_them(tmp_path: Path, names: list[str]) -> None:
    cells = [_csv_cell(VALUES[name]) for name in names]
    (tmp_path / "a.csv").write_text(f"{','.join(['id', *cells])}\n")
    with pytest.raises(FormatError) as caught:
        mask_data(
            str(tmp_path / "a.csv"), str(tmp_path / "out"), profile="llm-training", engine=masking_engine()
        )
    assert caught.value.reason == "the first line is not a header"
    _assert_silent("".join(traceback.format_exception(caught.value)))
    evidence = classify_data(str(tmp_path / "a.csv"), engine=classification_engine())
    _assert_silent(canonical_bytes(evidence.to_document()).decode())
    assert evidence.label.word == "restricted"


def _mask_log(source: Path, engine: Engine) -> None:
    mask_data(str(source), str(source.parent / "out"), profile="logs", engine=engine)


class _Stumbling(LocalRecognizer):
    """Raises over the value itself, in the middle of the data."""

    def load(self) -> None:
        """Do nothing."""

    def analyze(self, text: str, entities: list[str], nlp_artifacts: object = None) -> list[RecognizerResult]:
        if "STUMBLE" in text:
            raise ValueError(text)
        return []


@pytest.mark.parametrize("processes", [1, 2])
def test_value_that_raises_in_the_middle_leaves_no_target_and_no_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, processes: int
) -> None:
    engine = Engine("patterns", profile="logs", processes=processes)
    engine._analyzer.registry.add_recognizer(_Stumbling(supported_entities=["STUMBLE"]))
    lines = [f"fine {number}" for number in range(600)]
    lines += [f"STUMBLE {value}" for value in ONE_LINE.values()] + ["fine"] * 10
    (tmp_path / "a.log").write_text("\n".join(lines))
    with caplog.at_level(logging.DEBUG), pytest.raises(DetectionError, match="ValueError") as caught:
        _mask_log(tmp_path / "a.log", engine)
    _assert_silent("".join(traceback.format_exception(caught.value)) + caplog.text)
    error: BaseException | None = caught.value
    while error is not None:
        _assert_silent(repr(error))
        error = error.__context__
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log"]
