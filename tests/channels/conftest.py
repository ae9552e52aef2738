from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live.slack_emulator import SlackEmulator


@pytest.fixture(scope="session")
def slack() -> Iterator[SlackEmulator]:
    """A Slack of this machine, shared by the tests of a room: each looks for its own request."""
    with SlackEmulator() as emulator:
        yield emulator
