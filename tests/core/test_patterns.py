from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_approvals.core.patterns import (
    MAX_MATCHED_TEXT,
    MAX_PATTERN,
    MAX_WAYS,
    _Ways,
    check_pattern,
    fits,
)


@pytest.mark.parametrize(
    "pattern",
    [
        "^INC-[0-9]+$",
        "[A-Z]{2,10}-[0-9]{1,7}.*",
        "(?:OPS|SEC)-[0-9]{1,6}",
        "(ab)+",
        r"\d{4}-\d{2}[^]]x",
        "a{}b{c}",
        ".*because.*",
        "(?:[a-z]{1,3} ){2}",
        "(" * 100 + ")" * 100,
    ],
)
def test_what_people_write_passes(pattern):
    check_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+",
        "(a|a)*",
        "(?:a?){40}a{40}",
        "((a{1,9}){1,9}){1,9}",
        ".*.*.*",
        "(a|b|ab){12,}",
        "(.*){3}",
        "a{1,99999}b{1,99999}c{1,99999}",
    ],
)
def test_what_explodes_is_refused(pattern):
    with pytest.raises(ValueError, match="too many ways"):
        check_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("a" * (MAX_PATTERN + 1), "longer than"),
        ("[a", "no regular expression"),
        ("a**", "no regular expression"),
        ("(?=a)", "must do without look-around"),
        ("(?P<x>a)", "must do without look-around"),
        (r"(a)\1", r"must do without \\1"),
        (r"a\Z", r"must do without \\Z"),
    ],
)
def test_what_is_no_plain_pattern_is_refused(pattern, problem):
    with pytest.raises(ValueError, match=problem):
        check_pattern(pattern)


def test_the_whole_text_counts_and_lines_are_texts():
    assert fits("INC-[0-9]+", "INC-12")
    assert not fits("INC-[0-9]+", "see INC-12")
    assert fits(".{10,}", "two\nlines of reason")
    assert not fits(".*", "x" * (MAX_MATCHED_TEXT + 1))


atoms = st.sampled_from(["a", "b", ".", "[ab]", "(?:a|ab)", "(a)", "(?:a?)"])
quantifiers = st.sampled_from(["", "*", "+", "?", "{2}", "{1,3}", "{,2}", "{2,}", "*?"])
pieces = st.lists(st.tuples(atoms, quantifiers).map("".join), max_size=4).map("".join)
patterns = st.one_of(pieces, st.tuples(pieces, pieces).map("|".join), pieces.map(lambda p: f"(?:{p}){{1,3}}"))


@given(patterns, st.text("ab", max_size=6))
def test_the_bound_is_at_least_the_ways_there_are(pattern, text):
    re.compile(pattern)
    assert _Ways(pattern).count() >= min(_ways(pattern, text), MAX_WAYS)


def _ways(pattern: str, text: str) -> int:
    """The number of prefixes at which the pattern can end: each takes a way of its own."""
    compiled = re.compile(pattern)
    return sum(compiled.fullmatch(text[:end]) is not None for end in range(len(text) + 1))
