"""The example data is what its generator makes, and is as varied as it claims."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from airflow_approvals.detection.secrets import SECRET_ENTITIES, secret_spans

FOLDER = Path(__file__).parents[2] / "dags/data"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", FOLDER / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_files_are_what_the_generator_makes(generator: ModuleType) -> None:
    for name, data in generator.generate().items():
        assert (FOLDER / name).read_bytes() == data, name


def test_tickets_have_columns_of_every_type() -> None:
    with (FOLDER / "tickets.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 500
    assert len({row["country"] for row in rows}) == 10
    assert {"ticket_id", "opened_at", "amount_due", "message", "iban", "card_number"} <= set(rows[0])


def test_log_is_200_kilobytes_with_secrets_of_every_kind() -> None:
    text = (FOLDER / "application.log").read_text(encoding="utf-8")
    assert 200_000 <= len(text.encode()) < 205_000
    for kind in SECRET_ENTITIES:
        assert len(set(secret_spans(kind, text))) >= 3, kind
