"""The key of pseudonyms comes from a Connection, and the same key joins two copies."""

from __future__ import annotations

import base64
import csv
import json
import traceback
from pathlib import Path
from typing import Any

import pytest

from airflow_approvals.core.manifest import Reference
from airflow_approvals.data.classifying import classify_data
from airflow_approvals.data.references import load_manifest
from airflow_approvals.errors import ConfigurationError
from airflow_approvals.operators.mask import MaskDataOperator
from tests.detection.engines import classification_engine

SECRET = base64.b64encode(b"canary-key-" + bytes(24)).decode()
PROFILE = "version: 1\nname: joins\nthreshold: 0.35\ndefault: pseudonym\nentities: {}\n"


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(
        "AIRFLOW_CONN_NAMES", json.dumps({"conn_type": "generic", "password": SECRET, "login": "k7"})
    )
    return "names"


def mask(folder: Path, name: str, text: str, **options: Any) -> dict[str, str]:
    (folder / "joins.yaml").write_text(PROFILE)
    (folder / name).write_text(text)
    return MaskDataOperator(
        task_id="mask",
        source=str(folder / name),
        target=str(folder / f"out-{name}"),
        profile=str(folder / "joins.yaml"),
        **options,
    ).execute({})


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"out-{name}" / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_two_copies_join_and_the_manifest_names_the_version(tmp_path: Path, key: str) -> None:
    people = mask(tmp_path, "people.csv", "email,city\ncarol@example.com,Paris\n", key_conn_id=key)
    mask(tmp_path, "orders.csv", "order,email\n17,Carol@Example.com\n18,dave@example.com\n", key_conn_id=key)
    (person,), orders = rows(tmp_path, "people.csv"), rows(tmp_path, "orders.csv")
    assert [order["email"] == person["email"] for order in orders] == [True, False]
    assert person["email"].startswith("<EMAIL_ADDRESS:k7.")
    assert "pseudonym key k7" in load_manifest(Reference.from_document(people)).code_version
    evidence = classify_data(people, engine=classification_engine())
    assert not any(column.entities for column in evidence.columns), "pseudonyms are no findings"


def test_without_a_key_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="takes a key"):
        mask(tmp_path, "people.csv", "email\ncarol@example.com\n")
    assert not (tmp_path / "out-people.csv").exists()


@pytest.mark.parametrize(
    ("connection", "message"),
    [
        (None, "'names' holds no key"),
        ({"conn_type": "generic"}, "'names' holds no key"),
        ({"conn_type": "generic", "password": "canary!"}, "base 64"),
        ({"conn_type": "generic", "password": "Y2FuYXJ5"}, "32 to 1024 bytes"),
        ({"conn_type": "generic", "password": SECRET, "login": "canary login"}, "version"),
    ],
)
def test_a_connection_without_a_key_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connection: dict[str, str] | None, message: str
) -> None:
    if connection is not None:
        monkeypatch.setenv("AIRFLOW_CONN_NAMES", json.dumps(connection))
    with pytest.raises(ConfigurationError, match=message) as refused:
        mask(tmp_path, "people.csv", "email\ncarol@example.com\n", key_conn_id="names")
    assert "canary" not in "".join(traceback.format_exception_only(refused.value))
    assert not (tmp_path / "out-people.csv").exists()
