"""Ids of Connections that some secrets backend takes for the same one."""

from __future__ import annotations

import pytest

from airflow_approvals.core.spelling import connection_spelling


@pytest.mark.parametrize("other", ["SINK_A", "Sink_a", "sink-a", "sink.a", "sink_a:1", "Sink-A:prod"])
def test_what_a_backend_takes_for_the_same_id_is_as_protected(other: str) -> None:
    assert connection_spelling(other) == connection_spelling("sink_a")


@pytest.mark.parametrize("other", ["sinka", "sink_b", "sink__a", "xsink_a"])
def test_another_id_is_another(other: str) -> None:
    assert connection_spelling(other) != connection_spelling("sink_a")
