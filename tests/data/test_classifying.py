"""Evidence says what was found, what was seen, and what was not."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_approvals.core.classification import Label
from airflow_approvals.core.evidence import Evidence
from airflow_approvals.core.manifest import Reference
from airflow_approvals.data import reasons
from airflow_approvals.data.classifying import classify_data
from airflow_approvals.data.evidence import write_evidence
from airflow_approvals.data.masking import mask_data
from airflow_approvals.data.references import load_evidence
from airflow_approvals.errors import DataError, IntegrityError
from tests.detection.engines import classification_engine, masking_engine


def _classify(source: object) -> Evidence:
    return classify_data(source, engine=classification_engine())  # type: ignore[arg-type]


@pytest.fixture
def copy(tmp_path: Path) -> Reference:
    """A masked copy of one table and one text."""
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.csv").write_text("id,email,phone\n1,carol@example.com,+49 30 23125 417\n2,,\n")
    (source / "b.txt").write_text("Write to carol@example.com.\n")
    return mask_data(str(source), str(tmp_path / "out"), profile="llm-training", engine=masking_engine())


def test_masked_copy_is_internal_and_evidence_names_its_manifest(copy: Reference) -> None:
    evidence = _classify(copy)
    assert evidence.subject == copy.digest
    assert evidence.label is Label.INTERNAL
    assert evidence.findings == {}
    assert evidence.not_scanned == ()
    assert [(c.uri, c.column, c.scanned, c.total) for c in evidence.columns] == [
        ("a.csv", "id", 2, 2),
        ("a.csv", "email", 2, 2),
        ("a.csv", "phone", 2, 2),
        ("b.txt", "", 1, 1),
    ]


def test_every_way_to_name_a_masked_copy_is_the_same(copy: Reference, tmp_path: Path) -> None:
    evidence = _classify(copy)
    for source in (copy.to_document(), str(tmp_path / "out"), copy.uri):
        assert _classify(source).digest == evidence.digest


def test_raw_data_gets_its_label_per_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,email,card\n1,carol@example.com,4111111111111111\n")
    evidence = _classify(str(tmp_path / "a.csv"))
    assert evidence.subject is None
    assert {c.column: c.label for c in evidence.columns} == {
        "id": Label.INTERNAL,
        "email": Label.CONFIDENTIAL,
        "card": Label.RESTRICTED,
    }
    assert evidence.label is Label.RESTRICTED
    assert evidence.findings["CREDIT_CARD"] == 1


def test_what_masking_left_behind_is_a_finding(copy: Reference, tmp_path: Path) -> None:
    left = tmp_path / "left.csv"
    left.write_text("id,email\n1,<EMAIL_ADDRESS>\n2,dave@example.com\n")
    assert _classify(str(left)).findings == {"EMAIL_ADDRESS": 1}


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.parquet", b"PAR1", reasons.UNSUPPORTED),
        ("a.csv", b"", reasons.EMPTY),
        ("a.csv", b"a,b\n1\n", reasons.MALFORMED),
        ("a.csv", b"Karen,Springfield,1984-02-03,hunter2\nBob,Ogden,1990-01-01,x\n", reasons.NO_HEADER),
        ("a.txt", b"\xff\xfe", reasons.ENCODING),
    ],
)
def test_object_that_cannot_be_scanned_is_listed_and_restricts(
    tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(data)
    (tmp_path / "z.txt").write_text("fine\n")
    evidence = _classify(str(tmp_path))
    assert evidence.not_scanned == ((name, reason),)
    assert reason in reasons.REASONS
    assert evidence.label is Label.RESTRICTED
    assert [c.uri for c in evidence.columns] == ["z.txt"]


def test_changed_byte_in_a_masked_copy_is_noticed(copy: Reference, tmp_path: Path) -> None:
    path = tmp_path / "out/a.csv"
    path.write_bytes(path.read_bytes().replace(b"2,,", b"3,,"))
    with pytest.raises(IntegrityError, match=r"a\.csv is not what its manifest says"):
        _classify(copy)


def test_object_missing_from_a_masked_copy_restricts(copy: Reference, tmp_path: Path) -> None:
    (tmp_path / "out/b.txt").unlink()
    evidence = _classify(copy)
    assert evidence.not_scanned == (("b.txt", reasons.UNREADABLE),)
    assert evidence.label is Label.RESTRICTED


def test_file_beside_a_masked_copy_is_not_part_of_it(copy: Reference, tmp_path: Path) -> None:
    (tmp_path / "out/extra.csv").write_text("email\ncarol@example.com\n")
    assert _classify(copy).findings == {}


def test_sensitive_file_name_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "carol@corp.internal.txt").write_text("fine\n")
    evidence = _classify(str(tmp_path))
    assert [(c.uri, c.column, c.entities) for c in evidence.columns] == [
        ("_EMAIL_ADDRESS_.txt", "(name)", (("EMAIL_ADDRESS", 1),)),
        ("_EMAIL_ADDRESS_.txt", "", ()),
    ]
    assert evidence.label is Label.CONFIDENTIAL


def test_evidence_is_written_beside_the_data_and_loads_by_reference(copy: Reference, tmp_path: Path) -> None:
    evidence = _classify(copy)
    reference = write_evidence(evidence, copy)
    assert reference.uri == f"file://{tmp_path}/out/_evidence.json"
    assert load_evidence(reference).digest == evidence.digest
    beside = write_evidence(evidence, str(tmp_path / "in/a.csv"))
    assert beside.uri == f"file://{tmp_path}/in/a.csv_evidence.json"
    with pytest.raises(DataError, match="glob needs a place"):
        write_evidence(evidence, str(tmp_path / "in/*.csv"))


def test_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none does not exist"):
        _classify(str(tmp_path / "none"))
