"""The options of ``[approvals]``: what is read, what Airflow is told of, what the docs list."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from airflow.configuration import conf

from airflow_approvals.config.settings import SECTION, Settings
from airflow_approvals.operators.model import configured_model
from airflow_approvals.provider_info import get_provider_info

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def _declared() -> set[str]:
    return set(get_provider_info()["config"][SECTION]["options"])


def _documented() -> list[str]:
    """Return the names in the first column of the table of options, as often as they stand there."""
    (section,) = re.findall(r"^## Options\n(.*?)(?=^## )", OPERATIONS.read_text(), re.MULTILINE | re.DOTALL)
    cells = re.findall(r"^\|([^|]*)\|", section, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def _read(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the options that this package asks Airflow's configuration for."""
    asked: list[tuple[str, str]] = []
    get = type(conf).get

    def noted(self: Any, section: str, key: str, *arguments: Any, **named: Any) -> Any:
        asked.append((section, key))
        return get(self, section, key, *arguments, **named)

    monkeypatch.setattr(type(conf), "get", noted)
    Settings.load()
    return {key for section, key in asked if section == SECTION}


def test_airflow_is_told_of_every_option_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    # Tasks read theirs through the SDK, so it is seen by its effect.
    monkeypatch.setenv("AIRFLOW__APPROVALS__MODEL", "some_model")
    assert configured_model() == "some_model"
    assert _read(monkeypatch) | {"model"} == _declared()


def test_every_option_is_documented_once() -> None:
    documented = Counter(_documented())
    assert set(documented) == _declared()
    assert set(documented.values()) == {1}


def test_an_option_is_named_as_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = set(Settings.__dataclass_fields__) - {"base_url"}  # which is Airflow's own [api] base_url
    assert _read(monkeypatch) == fields
