"""The operators hand on references, and say nothing of values."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_approvals.core.manifest import Reference
from airflow_approvals.data.references import load_evidence, load_manifest
from airflow_approvals.errors import ContractError, DataError, IntegrityError
from airflow_approvals.operators.classify import ClassifyDataOperator
from airflow_approvals.operators.mask import MaskDataOperator
from airflow_approvals.operators.release import ReleaseDataOperator

GRANT = "0123456789abcdef0123456789abcdef"


def _run(operator: Any) -> Any:
    return operator.execute({})


@pytest.fixture
def manifest(tmp_path: Path) -> dict[str, str]:
    """The reference of a masked copy, as MaskDataOperator returns it."""
    (tmp_path / "a.csv").write_text("id,email\n1,carol@example.com\n")
    return _run(_mask(tmp_path))


def _mask(folder: Path) -> MaskDataOperator:
    return MaskDataOperator(
        task_id="mask", source=str(folder / "a.csv"), target=str(folder / "out"), profile="llm-training"
    )


def _gate(manifest: dict[str, str], folder: Path, **changed: Any) -> dict[str, Any]:
    return {
        "request": "r1",
        "grant": GRANT,
        "jws": "x.y.z",
        "manifest_digest": manifest["digest"],
        "sink": "training-bucket",
        "connection": "training_bucket",
        "uri_prefix": f"file://{folder}/sink/",
        "not_after": "2026-01-01T00:00:00Z",
        **changed,
    }


def _release(manifest: Any, gate: Any, sink: str = "training-bucket") -> Any:
    return _run(ReleaseDataOperator(task_id="release", manifest=manifest, sink=sink, gate=gate))


@pytest.fixture
def open_sink(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sink's Connection, as an approved task gets it."""
    monkeypatch.setenv("AIRFLOW_CONN_TRAINING_BUCKET", "fs://")


def test_mask_returns_the_manifest_and_logs_counts_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("id,email\n1,carol@example.com\n")
    reference = Reference.from_document(_run(_mask(tmp_path)))
    assert load_manifest(reference).rows == 1
    said = "".join(capsys.readouterr())
    assert "Masked 1 objects, 1 rows: EMAIL_ADDRESS 1." in said
    assert "carol" not in said


def test_tier_and_processes_reach_the_engine_and_the_manifest(tmp_path: Path) -> None:
    rows = "".join(f"{n},carol{n}@example.com\n" for n in range(80))
    (tmp_path / "a.csv").write_text(f"id,email\n{rows}")
    copies = []
    for processes in (None, 2):
        operator = MaskDataOperator(
            task_id="mask",
            source=str(tmp_path / "a.csv"),
            target=str(tmp_path / f"out-{processes}"),
            profile="logs",
            tier="patterns",
            processes=processes,
        )
        copies.append(load_manifest(Reference.from_document(_run(operator))))
    assert copies[0] == copies[1], "the same copy, whatever it was made by"
    assert (copies[0].model, "patterns" in copies[0].code_version) == ("none", True)
    assert {count.entity_type: count.count for count in copies[0].counts} == {"EMAIL_ADDRESS": 80}


def test_classify_returns_the_evidence_and_logs_counts_only(
    manifest: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    returned = _run(ClassifyDataOperator(task_id="classify", source=manifest))
    raw = _run(
        ClassifyDataOperator(task_id="raw", source=str(tmp_path / "a.csv"), target=f"{tmp_path}/e.json")
    )
    assert returned["uri"] == f"file://{tmp_path}/out/_evidence.json"
    assert load_evidence(Reference.from_document(returned)).subject == manifest["digest"]
    assert load_evidence(Reference.from_document(raw)).findings == {"EMAIL_ADDRESS": 1}
    said = "".join(capsys.readouterr())
    assert "Classified as internal: nothing found" in said
    assert "Classified as confidential: EMAIL_ADDRESS 1" in said
    assert "carol" not in said


@pytest.mark.usefixtures("open_sink")
def test_release_writes_below_the_sink_by_data_and_grant(manifest: dict[str, str], tmp_path: Path) -> None:
    returned = _release(manifest, _gate(manifest, tmp_path))
    folder = f"{manifest['digest'][7:23]}-{GRANT[:8]}"
    assert returned == {
        "receipt": f"file://{tmp_path}/sink/{folder}/_receipt.json",
        "objects": 1,
        "manifest_digest": manifest["digest"],
        "grant": GRANT,
    }
    released = tmp_path / "sink" / folder
    assert sorted(p.name for p in released.iterdir()) == ["_receipt.json", "a.csv"]
    assert (released / "a.csv").read_text() == "id,email\n1,<EMAIL_ADDRESS>\n"
    assert _release(manifest, _gate(manifest, tmp_path)) == returned


@pytest.mark.usefixtures("open_sink")
@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"sink": "elsewhere"}, IntegrityError, "for sink 'elsewhere', not for 'training-bucket'"),
        ({"manifest_digest": f"sha256:{'0' * 64}"}, IntegrityError, "for other data"),
        ({"grant": "../../up"}, IntegrityError, "no valid id"),
        ({"grant": None}, ContractError, "grant"),
        ({"connection": "never_made"}, DataError, "'never_made' of sink 'training-bucket' stays shut"),
    ],
)
def test_release_refuses_what_does_not_belong_together(
    manifest: dict[str, str], tmp_path: Path, changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        _release(manifest, _gate(manifest, tmp_path, **changed))
    assert not (tmp_path / "sink").exists()


@pytest.mark.usefixtures("open_sink")
@pytest.mark.parametrize("gate", [None, "approved", {}])
def test_release_without_a_grant_is_refused(manifest: dict[str, str], gate: Any) -> None:
    with pytest.raises((IntegrityError, ContractError), match="gate"):
        _release(manifest, gate)


@pytest.mark.usefixtures("open_sink")
def test_one_changed_byte_after_approval_releases_nothing(manifest: dict[str, str], tmp_path: Path) -> None:
    copy = tmp_path / "out/a.csv"
    copy.write_bytes(copy.read_bytes().replace(b"1,", b"2,"))
    with pytest.raises(IntegrityError, match=r"a\.csv is not what was approved"):
        _release(manifest, _gate(manifest, tmp_path))
    assert list((tmp_path / "sink").rglob("*")) == []


def test_shut_connection_releases_nothing(manifest: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="stays shut"):
        _release(manifest, _gate(manifest, tmp_path))
    assert not (tmp_path / "sink").exists()


def test_a_dag_file_with_all_operators_parses_without_presidio_or_spacy() -> None:
    code = (
        "import sys\n"
        "from airflow_approvals.operators import classify, mask, release\n"
        "print(sorted({'presidio_analyzer', 'spacy', 'thinc', 'sqlalchemy.orm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "presidio" not in done.stdout
    assert "spacy" not in done.stdout


@pytest.mark.parametrize("operator", [MaskDataOperator, ClassifyDataOperator, ReleaseDataOperator])
def test_every_template_field_is_an_attribute(operator: Any) -> None:
    arguments = {
        MaskDataOperator: {"source": "s", "target": "t", "profile": "p"},
        ClassifyDataOperator: {"source": "s"},
        ReleaseDataOperator: {"manifest": {}, "sink": "s", "gate": {}},
    }[operator]
    made = operator(task_id="x", **arguments)
    assert all(hasattr(made, field) for field in operator.template_fields)
