from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.control.airflow_database import postgres_airflow, postgres_metadata
from tests.live.slack_emulator import SlackEmulator

__all__ = ["postgres_airflow", "postgres_metadata", "slack"]


@pytest.fixture(scope="session")
def slack() -> Iterator[SlackEmulator]:
    """A Slack of this machine, shared by the tests of a room: each looks for its own request."""
    with SlackEmulator() as emulator:
        yield emulator
