"""The custodian's credentials: from a file of its own, and only from one that nobody else reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_approvals.config.settings import Settings
from airflow_approvals.custody.connections import open_connections, read_connections
from airflow_approvals.errors import ConfigurationError
from tests.custody.conftest import PASSWORD, write_connections


def test_uris_and_fields_become_what_airflow_reads(tmp_path: Path) -> None:
    fields = {"conn_type": "aws", "login": "key", "password": PASSWORD}
    path = write_connections(tmp_path, {"one": "aws://key@", "two": fields})
    found = read_connections(path)
    assert found["one"] == "aws://key@"
    assert json.loads(found["two"]) == fields


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = write_connections(tmp_path, {"one": "aws://key@"}, mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        read_connections(path)


@pytest.mark.parametrize(
    "connections",
    [
        [PASSWORD],
        {"one": PASSWORD},
        {"one": {"password": PASSWORD}},
        {"one": {"conn_type": "aws", "secret": PASSWORD}},
        {"one two": f"aws://{PASSWORD}@"},
        {"one": f"aws://{PASSWORD}@", "ONE": "aws://"},
    ],
)
def test_a_file_of_another_form_is_refused_without_quoting_it(tmp_path: Path, connections: Any) -> None:
    path = write_connections(tmp_path, connections)
    with pytest.raises(ConfigurationError) as caught:
        read_connections(path)
    assert PASSWORD not in str(caught.value)
    assert caught.value.__cause__ is None


def test_without_the_option_the_custodian_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="custodian_connections_file is not set"):
        open_connections(Settings())
