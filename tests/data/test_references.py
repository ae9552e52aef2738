"""A reference loads the document it names, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_approvals.core.digest import canonical_bytes, sha256_digest
from airflow_approvals.core.manifest import Manifest, Reference
from airflow_approvals.data.places import Place
from airflow_approvals.data.references import load_evidence, load_manifest
from airflow_approvals.errors import ContractError, DataError, IntegrityError

MANIFEST = Manifest((), "logs", f"sha256:{'0' * 64}", "model", "code", ())


def _written(folder: Path, data: bytes) -> Reference:
    (folder / "_manifest.json").write_bytes(data)
    return Reference(f"file://{folder}/_manifest.json", sha256_digest(data))


def test_manifest_loads_by_its_digest(tmp_path: Path) -> None:
    reference = _written(tmp_path, canonical_bytes(MANIFEST.to_document()))
    assert load_manifest(reference) == MANIFEST


def test_other_bytes_are_refused(tmp_path: Path) -> None:
    reference = _written(tmp_path, canonical_bytes(MANIFEST.to_document()))
    (tmp_path / "_manifest.json").write_bytes(b"{}")
    with pytest.raises(IntegrityError, match="digest differs"):
        load_manifest(reference)


def test_same_content_in_another_spelling_is_refused(tmp_path: Path) -> None:
    reference = _written(tmp_path, b" " + canonical_bytes(MANIFEST.to_document()))
    with pytest.raises(IntegrityError):
        load_manifest(reference)


def test_document_of_another_kind_is_refused(tmp_path: Path) -> None:
    reference = _written(tmp_path, canonical_bytes(MANIFEST.to_document()))
    with pytest.raises(ContractError):
        load_evidence(reference)


def test_document_that_is_no_json_is_not_quoted(tmp_path: Path) -> None:
    reference = _written(tmp_path, b"canary canary")
    with pytest.raises(ContractError, match="is not a JSON document") as caught:
        load_manifest(reference)
    assert caught.value.__context__ is None


def test_missing_document_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"_manifest\.json does not exist"):
        load_manifest(Reference(f"file://{tmp_path}/_manifest.json", f"sha256:{'0' * 64}"))


def test_place_shows_no_password_and_keeps_the_connection(tmp_path: Path) -> None:
    place = Place(None, "bucket/key", "s3://key:hunter2@bucket/key")
    assert "hunter2" not in place.shown
    assert Place.of(str(tmp_path)).uri == f"file://{tmp_path}"
    assert Place.of(f"file://{tmp_path}/x/").child("y").path == f"{tmp_path}/x/y"
