"""Columns whose name says what their values are.

A name alone in a cell is often missed by a language model, and a password has no form at all;
the header settles it. Only the last part of a dotted name counts: ``user.password`` holds
passwords, ``password.changed_at`` does not.
"""

from __future__ import annotations

import re

from airflow_approvals.detection.secrets import ACCESS_TOKEN, API_KEY, PASSWORD, PRIVATE_KEY

_SOMEBODY = (
    r"first|last|full|given|family|middle|maiden|birth|customer|client|contact|employee|patient|user"
    r"|account_?holder|card_?holder|holder|author|owner|sender|recipient|guest|student|member|agent|manager"
)
_NUMBER = r"(?:_?(?:number|num|no|nr|id))?"

#: Entity type -> what the whole name, or its last words, must be. The first that fits counts.
_RULES: tuple[tuple[str, str], ...] = (
    (PRIVATE_KEY, r"private_?key|ssh_?key"),
    (API_KEY, r"api_?key|access_?key(?:_?id)?|account_?key"),
    (ACCESS_TOKEN, r"(?:(?:access|auth|refresh|session|bearer|id|api|bot)_?)?token|jwt|session_?id"),
    (
        PASSWORD,
        r"pass_?word|passwd|pass_?phrase|passcode|pwd|(?:client_?|app_?)?secret(?:_?key)?|credentials?",
    ),
    ("EMAIL_ADDRESS", r"e_?mail(?:_?address)?"),
    ("IP_ADDRESS", r"ip(?:_?addr(?:ess)?)?|remote_?addr"),
    ("MAC_ADDRESS", r"mac(?:_?addr(?:ess)?)?"),
    ("PHONE_NUMBER", rf"(?:tele)?phone{_NUMBER}|mobile{_NUMBER}|cell_?phone|fax{_NUMBER}|msisdn"),
    ("CREDIT_CARD", rf"(?:credit|debit|payment|bank)?_?card_?(?:number|num|no|nr)|credit_?card{_NUMBER}"),
    ("IBAN_CODE", r"iban(?:_?code)?"),
    ("US_BANK_NUMBER", r"(?:bank_?)?account_?(?:number|num|no|nr)"),
    ("US_SSN", rf"ssn|social_?security{_NUMBER}"),
    ("US_PASSPORT", rf"passport{_NUMBER}"),
    ("US_DRIVER_LICENSE", rf"driv(?:er|er_?s|ers|ing)_?licen[cs]e{_NUMBER}"),
    ("DATE_OF_BIRTH", r"date_?of_?birth|dob|birth_?(?:date|day)"),
    ("PERSON", rf"(?:{_SOMEBODY})_?name|surname|forename|nickname"),
    (
        "LOCATION",
        r"address(?:_?line)?|street(?:_?address)?|city|town|(?:post|postal|zip)_?code|zip|birth_?place",
    ),
)
_RULES_OF_A_WHOLE: tuple[tuple[str, str], ...] = (
    ("PERSON", r"name|user|username|customer|patient|employee"),
)

#: Every entity type that a column's name can give.
COLUMN_ENTITIES = frozenset(kind for kind, _ in _RULES)

_COMPILED = tuple(
    [(kind, re.compile(rf"(?:[a-z0-9]+_)*(?:{rule})(?:_?\d+)?")) for kind, rule in _RULES]
    + [(kind, re.compile(rule)) for kind, rule in _RULES_OF_A_WHOLE]
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_EMPTY = re.compile(r"(?i)[\W_]*(?:none|null|nil|n/?a|nan|unknown|true|false)?[\W_]*")


def column_entity(name: str) -> str | None:
    """Return the entity type that a column of this name holds, ``None`` when it says nothing."""
    # A placeholder names what a header held, which says nothing of the values below it.
    if "<" in name:
        return None
    leaf = re.sub(r"(?:\[\])+$", "", name).rsplit(".", 1)[-1]
    words = re.sub(r"[\W_]+", "_", _HUMP.sub("_", leaf)).strip("_").lower()
    return next((kind for kind, rule in _COMPILED if rule.fullmatch(words)), None)


def says_nothing(text: str) -> bool:
    """Whether a cell is empty, or only says that there is no value."""
    return _EMPTY.fullmatch(text) is not None
