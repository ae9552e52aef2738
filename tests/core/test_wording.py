from __future__ import annotations

import pytest

from airflow_approvals.core.patterns import MAX_MATCHED_TEXT
from airflow_approvals.core.wording import first_unmatched


@pytest.mark.parametrize(
    ("patterns", "text", "unmatched"),
    [
        (("OPS-[0-9]+",), " OPS-1 ", None),
        (("OPS-[0-9]+",), "OPS-1 and more", "OPS-[0-9]+"),
        ((".+", "x.*"), "a", "x.*"),
        ((".+",), None, ".+"),
        ((), None, None),
        ((".{10,}",), "two lines,\nboth mine", None),
        ((".*",), "x" * MAX_MATCHED_TEXT, None),
        ((".*",), "x" * (MAX_MATCHED_TEXT + 1), ".*"),
    ],
)
def test_the_whole_text_is_held_against_each_pattern(patterns, text, unmatched):
    assert first_unmatched(patterns, text) == unmatched
