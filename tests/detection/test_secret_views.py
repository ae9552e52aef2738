"""Other readings of a text lead back to its characters."""

from __future__ import annotations

import base64
import random
import re
import textwrap
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_approvals.detection.secret_views import unescaped
from airflow_approvals.detection.secrets import find_secrets, line_crossing_spans, secret_spans

PASSWORD = "cAnArY-9!x"
DOCUMENT = f'{{"user": "svc", "password": "{PASSWORD}", "note": "größer 😀"}}'


def _blob(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _found(text: str) -> list[str]:
    return [text[start:end] for start, end in secret_spans("PASSWORD", text)]


@given(st.lists(st.sampled_from(["%41", "%3D", "\\/", "\\u0026", "a", "é", "😀", "%", "\\", "%C3%A9"])))
@settings(max_examples=200, deadline=None)
def test_every_character_of_a_reading_leads_back(parts: list[str]) -> None:
    text = "".join(parts)
    view = unescaped(text)
    if view is None:
        return
    pieces = [text[slice(*view.original(place, place + 1))] for place in range(len(view.text))]
    assert "".join(pieces) == text
    assert all(piece == read or len(piece) > 1 for piece, read in zip(pieces, view.text, strict=True))


def test_text_without_escapes_has_one_reading() -> None:
    assert unescaped("100% sure, C:\\new and \\u12") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (f"q={quote('password=hunter2&x=1', safe='')}&y=2", "hunter2"),
        ('{"u": "https:\\/\\/svc:hunter2@db.example.net\\/x"}', "https:\\/\\/svc:hunter2@db.example.net\\/x"),
        ('{"q": "a\\u0026password\\u003dhunter2"}', "hunter2"),
    ],
)
def test_escaped_secret_is_found_where_it_stands(text: str, value: str) -> None:
    spans = [text[secret.start : secret.end] for secret in find_secrets(text)]
    assert any(value in span for span in spans)
    assert all(len(span) < len(value) + 14 for span in spans)


@pytest.mark.parametrize(
    "blob",
    [
        _blob(DOCUMENT),
        _blob(DOCUMENT).rstrip("="),
        base64.urlsafe_b64encode(DOCUMENT.encode()).decode(),
        _blob(f"password={PASSWORD}"),
    ],
)
@pytest.mark.parametrize("around", ["{}", "x={}", '"{}"', "data:text/plain;base64,{}", "😀 {} ."])
def test_blob_that_holds_a_secret_is_the_finding(blob: str, around: str) -> None:
    assert _found(around.format(blob)) == [blob]


def test_blob_behind_a_path_is_found_with_it() -> None:
    assert _found(f"GET /v1/x/{_blob(DOCUMENT)} 200") == [f"/v1/x/{_blob(DOCUMENT)}"]


@pytest.mark.parametrize("width", [64, 76])
@pytest.mark.parametrize("indent", ["", "    "])
def test_blob_over_several_lines_is_one_finding(width: int, indent: str) -> None:
    wrapped = f"\n{indent}".join(textwrap.wrap(_blob("x" * 100 + DOCUMENT + "y" * 100), width))
    text = f"body:\n{indent}{wrapped}\nend"
    assert _found(text) == [wrapped]
    assert [text[start:end] for start, end in line_crossing_spans(text)] == [wrapped]


@pytest.mark.parametrize("cut", range(1, 9))
def test_blob_that_was_cut_is_read_all_the_same(cut: int) -> None:
    assert _found(_blob(DOCUMENT)[cut:]) == [_blob(DOCUMENT)[cut:]]


@pytest.mark.parametrize(
    "data", [bytes(range(256)), b"\x89PNG\r\n\x1a\n" + bytes(64), b"no secret here, only text"]
)
def test_blob_without_a_secret_is_left_alone(data: bytes) -> None:
    assert find_secrets(f"x={base64.b64encode(data).decode()}") == []


def test_blob_in_a_blob_is_not_opened() -> None:
    assert find_secrets(_blob(_blob(DOCUMENT))) == []


def test_binary_data_holds_no_secret() -> None:
    data = random.Random(7).randbytes(40_000)
    assert find_secrets(base64.b64encode(data).decode()) == []


@given(
    st.text(max_size=200)
    | st.from_regex(re.compile(r"[A-Za-z0-9+/_=%\\\n -]{0,300}", re.ASCII), fullmatch=True)
)
@settings(max_examples=300, deadline=None)
def test_no_text_makes_it_fail(text: str) -> None:
    assert all(0 <= s.sign <= s.start < s.end <= len(text) for s in find_secrets(text))
