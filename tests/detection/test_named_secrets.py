"""A name beside a value gives a secret away; what stands in the place of a value is none."""

from __future__ import annotations

import pytest

from airflow_approvals.detection.secrets import find_secrets


def _found(text: str) -> list[str]:
    return [text[secret.start : secret.end] for secret in find_secrets(text)]


@pytest.mark.parametrize(
    "placeholder",
    [
        '"<redacted>"',
        "[REDACTED]",
        "***",
        "${DB_PASSWORD}",
        '"${DB_PASSWORD}"',
        "$(cat /run/secrets/db)",
        "'{{ var.value.db }}'",
        '"{password}"',
        "'%(password)s'",
        "$DB_PASSWORD",
        "null",
    ],
)
@pytest.mark.parametrize("name", ["password=", "token: ", "api_key = "])
def test_placeholder_is_no_secret(placeholder: str, name: str) -> None:
    assert _found(name + placeholder) == []


@pytest.mark.parametrize(
    "line",
    [
        "connect(host=host, password=password)",
        "connect(password=db_password, host=host)",
        "token = self.token",
        "api_key=settings.api_key",
        "password = os.environ['X']",
        "secret = get_secret(name)",
        "def login(user: str, password: str) -> None:",
        "https://registry.example.com:8443/@types/node",
        "postgresql://app:***@db/x",
        "Bearer authentication is required",
        "token_type=bearer expires_in=3600",
        "signing_key=projects/shop/locations/global/keyRings/ring-1",
        "tests pass: 120 fail: 3",
        "the password length is 128 bytes",
    ],
)
def test_code_and_talk_about_secrets_are_none(line: str) -> None:
    assert _found(line) == []


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("login failed (user=bob, password=hunter)", "hunter"),
        ("password=supersecret, attempt 3", "supersecret"),
        ("pass=1234", "1234"),
        ('password="$ecret1"', "$ecret1"),
        ("AIRFLOW__CORE__FERNET_KEY=" + "aB3-" * 10 + "xyz=", "aB3-" * 10 + "xyz="),
        ("The token for staging is " + "Zx9y" * 6, "Zx9y" * 6),
        ("secret key was: " + "Zx9y" * 6, "Zx9y" * 6),
        ("password for the new server is tulip#7", "tulip#7"),
        ("https://bob:12345@example.com/x", "https://bob:12345@example.com/x"),
        ("Authorization: Bearer " + "Zx9_" * 6, "Zx9_" * 6),
    ],
)
def test_weak_and_short_secrets_are_found(line: str, value: str) -> None:
    assert value in _found(line)
