"""What a column's name says of its values."""

from __future__ import annotations

import pytest

from airflow_approvals.detection.columns import column_entity, says_nothing
from airflow_approvals.detection.names import name_findings, spaced
from tests.detection.engines import masking_engine


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("password", "PASSWORD"),
        ("db_password", "PASSWORD"),
        ("clientSecret", "PASSWORD"),
        ("user.credentials.apiKey", "API_KEY"),
        ("refresh_token", "ACCESS_TOKEN"),
        ("customer_name", "PERSON"),
        ("LastName", "PERSON"),
        ("name", "PERSON"),
        ("user.name", "PERSON"),
        ("tags[].owner_name", "PERSON"),
        ("E-Mail", "EMAIL_ADDRESS"),
        ("phone_number", "PHONE_NUMBER"),
        ("phones[]", None),
        ("home_address", "LOCATION"),
        ("ip_address", "IP_ADDRESS"),
        ("email_address", "EMAIL_ADDRESS"),
        ("zip", "LOCATION"),
        ("date_of_birth", "DATE_OF_BIRTH"),
        ("card_number", "CREDIT_CARD"),
        ("iban", "IBAN_CODE"),
        ("file_name", None),
        ("product_name", None),
        ("password.changed_at", None),
        ("tokens_used", None),
        ("status", None),
        ("velocity", None),
        ("", None),
    ],
)
def test_column_name_gives_the_entity_type(name: str, kind: str | None) -> None:
    assert column_entity(name) == kind


@pytest.mark.parametrize("text", ["", " ", "n/a", "NULL", "-", "none", "(unknown)", "false"])
def test_cell_without_a_value_says_nothing(text: str) -> None:
    assert says_nothing(text)


@pytest.mark.parametrize("text", ["0", "x", "nonesuch", "\u00e9"])
def test_cell_with_a_value_says_something(text: str) -> None:
    assert not says_nothing(text)


@pytest.mark.parametrize(
    ("name", "sensitive"),
    [
        ("carol.canary@corp.internal", True),
        ("ghp_CaNaRy0123456789abcdefghijklmnopqrst", True),
        ("John_Smith", True),
        ("536-90-4399", True),
        ("date_of_birth", False),
        ("customer_name", False),
        ("opened_at", False),
        ("City of birth", False),
        ("export-2026-01-31", False),
        ("readme.md", False),
    ],
)
def test_name_is_sensitive_when_it_holds_a_value(name: str, sensitive: bool) -> None:
    found = masking_engine().analyze([name, spaced(name)])
    assert any(name_findings(name, findings) for findings in found) is sensitive
