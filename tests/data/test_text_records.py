"""Passages of text: nothing is lost, and a secret is never cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_approvals.data import text_records
from airflow_approvals.data.text_records import TextReader
from tests.detection import canaries

KEY = canaries.SECRETS["private key"][1]


def _passages(text: str, *, paragraphs: bool = False) -> list[str]:
    return [r.raw for r in TextReader(paragraphs=paragraphs).records(text.splitlines(keepends=True))]


@given(st.text(alphabet="ab \n-:=", max_size=200), st.booleans())
def test_passages_together_are_the_text(text: str, paragraphs: bool) -> None:
    assert "".join(_passages(text, paragraphs=paragraphs)) == text


def test_log_is_cut_into_lines_and_prose_into_paragraphs() -> None:
    text = "one\ntwo\n\nthree\n"
    assert _passages(text) == ["one\n", "two\n", "\n", "three\n"]
    assert _passages(text, paragraphs=True) == ["one\ntwo\n", "\n", "three\n"]


def test_secret_over_several_lines_is_one_passage() -> None:
    text = f"first\nkey: {KEY}\nsecret:\n  hunter2\nlast\n"
    assert _passages(text) == ["first\n", f"key: {KEY}\n", "secret:\n  hunter2\n", "last\n"]


@pytest.mark.parametrize("window", [1, 10, 40, 100, 200])
def test_secret_is_whole_wherever_a_window_ends(monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    monkeypatch.setattr(text_records, "WINDOW_CHARS", window)
    text = f"first line\nsecond\n{KEY}\npassword:\nhunter2\nlast\n"
    passages = _passages(text)
    assert f"{KEY}\n" in passages
    assert "password:\nhunter2\n" in passages


def test_key_that_never_ends_does_not_grow_a_window_without_bound() -> None:
    text = "-----BEGIN PRIVATE KEY-----\n" + "not base64, at all!\n" * 20_000
    windows = list(text_records._windows(text.splitlines(keepends=True)))
    assert max(sum(map(len, window)) for window in windows) < 2 * text_records.WINDOW_CHARS + 100
