"""Secrets are found with their exact spans, and only secrets are."""

from __future__ import annotations

import time

import pytest

from airflow_approvals.detection.secrets import (
    SECRET_ENTITIES,
    find_secrets,
    line_crossing_spans,
    secret_spans,
)
from tests.detection import canaries


def _found(entity_type: str, text: str) -> list[str]:
    return [text[start:end] for start, end in secret_spans(entity_type, text)]


@pytest.mark.parametrize("name", canaries.SECRETS)
@pytest.mark.parametrize("around", ["{}", "before {} after", 'x="{}"', "({})", '{{"k": "{}"}}'])
def test_secret_found_in_every_surrounding(name: str, around: str) -> None:
    kind, value = canaries.SECRETS[name]
    assert any(value in found for found in _found(kind, around.format(value)))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("password=hunter2", "hunter2"),
        ("db_password: 'it is long'", "it is long"),
        ('{"password": "a\\"b", "n": 1}', 'a\\"b'),
        ('{\\"password\\": \\"inner\\"}', "inner"),
        ("password:\n  onTheNextLine", "onTheNextLine"),
        ("DB_PASSWD => s3cr3t;", "s3cr3t"),
        ("user=x pwd=abc123 attempts=3", "abc123"),
        ("client_secret=Zx9yQ", "Zx9yQ"),
        ("The password is hunter2!", "hunter2!"),
        ("mysql --password hunter2 -h db", "hunter2"),
        ("<password>hunter2</password>", "hunter2"),
    ],
)
def test_password_span_is_the_value_alone(text: str, value: str) -> None:
    assert value in _found("PASSWORD", text)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("ACCESS_TOKEN", "Authorization: Bearer abc.def-123456789", "abc.def-123456789"),
        ("ACCESS_TOKEN", "Authorization: Basic c3ZjOnB3ZDEyMw==", "c3ZjOnB3ZDEyMw=="),
        ("ACCESS_TOKEN", "access_token=9f8e7d6c5b", "9f8e7d6c5b"),
        ("ACCESS_TOKEN", "https://x/y?X-Amz-Signature=0123456789abcdef0123", "0123456789abcdef0123"),
        ("API_KEY", "api_key: 'k-12345'", "k-12345"),
        (
            "API_KEY",
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCY0123456789",
            "wJalrXUtnFEMI/K7MDENG/bP",
        ),
        ("CONNECTION_STRING", "redis://:pa@ss@cache:6379/0 up", "redis://:pa@ss@cache:6379/0"),
        (
            "CONNECTION_STRING",
            "at jdbc:oracle:thin:scott/tiger@//db:1521/x",
            "jdbc:oracle:thin:scott/tiger@//db:1",
        ),
        ("CONNECTION_STRING", "Server=db;Database=x;User Id=sa;Password=p w;Encrypt=yes", "Password=p w"),
    ],
)
def test_named_secret_is_found(kind: str, text: str, value: str) -> None:
    assert any(value in found for found in _found(kind, text))


@pytest.mark.parametrize(
    "text",
    [
        "The password is required.",
        "password: null",
        "Please reset your password; the secretary will help.",
        "INFO http request=b5faf5c42674 GET /api/v2/orders 200 869ms",
        "see https://example.com:8080/path?x=1 and mailto:a@example.com",
        "risk-assessment-of-the-whole-project and sk-learn",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "token bucket, tokens per second: many",
        "commit 9f8e7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c",
    ],
)
def test_clean_text_has_no_secret(text: str) -> None:
    assert [kind for kind in SECRET_ENTITIES if _found(kind, text)] == []


@pytest.mark.parametrize("prefix", ["", "    ", "2026-01-01 INFO | "])
def test_key_block_is_one_span_whatever_stands_before_its_lines(prefix: str) -> None:
    block = canaries.SECRETS["private key"][1].replace("\n", f"\n{prefix}")
    text = f"first\n{prefix}{block}\nlast"
    assert _found("PRIVATE_KEY", text) == [block]
    assert len(line_crossing_spans(text)) == 1


def test_key_block_that_was_cut_off_is_found_to_its_last_line() -> None:
    block = canaries.SECRETS["private key"][1].rsplit("\n", 1)[0]
    assert _found("PRIVATE_KEY", f"{block}\n# end of file")[0].startswith(block)


def test_two_key_blocks_in_a_row_are_two_findings() -> None:
    block = canaries.SECRETS["private key"][1]
    assert _found("PRIVATE_KEY", f"{block}\n{block}") == [block, block]


UNITS = [
    "a",
    "password",
    "eyJ",
    "-----BEGIN PRIVATE KEY-----",
    "://",
    "Server=x;",
    "aws ",
    "0",
    '"',
    "jdbc:",
    "=",
    "%41",
    "\\/",
    "token is ",
    "bearer a",
    "password='",
    "secret key is aa1",
    "PuTTY-User-Key-File-2:",
    "sk-",
    "MDE2",
    "-us1",
    "A" * 76 + "\n",
    "A" * 64 + "\n",
    "A" * 70 + "\n",
    "a.b.",
    ".atlasv1.",
    "1:",
]


@pytest.mark.parametrize("unit", UNITS)
def test_cost_grows_with_length_and_not_faster(unit: str) -> None:
    def seconds(size: int) -> float:
        text = unit * (size // len(unit))
        started = time.process_time()
        find_secrets(text)
        return time.process_time() - started

    small, large = (min(seconds(size) for _ in range(3)) for size in (20_000, 160_000))
    assert large < 0.1 or large / small < 24
