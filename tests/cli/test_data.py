"""``mask`` and ``classify`` on files, without a running Airflow."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from airflow_approvals.cli.data import classify, mask


def _files(folder: Path) -> tuple[str, str]:
    (folder / "a.csv").write_text("id,email\n1,carol@example.com\n")
    return str(folder / "a.csv"), str(folder / "out")


def _asked(source: str, target: str, profile: str) -> Namespace:
    return Namespace(
        source=source, target=target, profile=profile, tier="faithful", processes=None, key_conn_id=None
    )


def test_mask_prints_what_was_masked_and_no_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = _files(tmp_path)
    mask(_asked(source, target, "llm-training"))
    said = capsys.readouterr().out
    assert "email   EMAIL_ADDRESS  1" in said
    assert f"manifest file://{target}/_manifest.json" in said
    assert "carol" not in said
    assert (tmp_path / "out/a.csv").read_text() == "id,email\n1,<EMAIL_ADDRESS>\n"


def test_classify_prints_a_table_or_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, _ = _files(tmp_path)
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    classify(Namespace(source=str(tmp_path), json=False))
    said = capsys.readouterr().out
    assert "a.csv   email   confidential  1/1      EMAIL_ADDRESS 1" in said
    assert "not scanned: b.parquet (unsupported format)" in said
    assert "label    restricted" in said
    classify(Namespace(source=source, json=True))
    evidence = json.loads(capsys.readouterr().out)
    assert evidence["label"] == "confidential"


@pytest.mark.parametrize("name", ["none.csv", "bad.csv"])
def test_error_is_one_line_and_exit_code_1(tmp_path: Path, name: str) -> None:
    (tmp_path / "bad.csv").write_text("a,b\n1\n")
    with pytest.raises(SystemExit) as caught:
        mask(_asked(str(tmp_path / name), str(tmp_path / "out"), "logs"))
    assert str(caught.value.code).startswith("approvals: ")
    assert "\n" not in str(caught.value.code)
    with pytest.raises(SystemExit):
        classify(Namespace(source=str(tmp_path / "none.csv"), json=False))
