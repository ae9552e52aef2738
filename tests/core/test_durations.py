from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_approvals.core.durations import LONGEST, parse_duration


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("PT24H", timedelta(hours=24)),
        ("P2D", timedelta(days=2)),
        ("P1DT2H3M4S", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("PT90S", timedelta(seconds=90)),
        ("P366D", LONGEST),
    ],
)
def test_duration_is_read(text, span):
    assert parse_duration(text) == span


@pytest.mark.parametrize(
    "text",
    ["", "P", "PT", "P1DT", "PT0S", "P0D", "-PT1H", "PT1.5H", "P1M", "P1Y", "P1W", "PT1h", "pt1h", " PT1H",
     "PT1H\n", "PT1S1H", "P367D", "PT٣H", "PT999999999H", "PT" + "9" * 40 + "H", None, 3600, True],
)  # fmt: skip
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match="must be"):
        parse_duration(text)


@given(st.integers(0, 365), st.integers(0, 23), st.integers(0, 59), st.integers(1, 59))
def test_every_span_round_trips(days, hours, minutes, seconds):
    span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    assert parse_duration(f"P{days}DT{hours}H{minutes}M{seconds}S") == span
