"""Pseudonyms: the same for a key, another for another, and nothing of the value or the key in them."""

from __future__ import annotations

import base64
import hmac
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st
from presidio_analyzer import RecognizerResult

from airflow_approvals.detection.masking import PLACEHOLDER, mask_text, residual
from airflow_approvals.detection.profiles import Profile, Transformation, Treatment
from airflow_approvals.detection.pseudonyms import PseudonymKey
from airflow_approvals.errors import ConfigurationError

KEY = PseudonymKey("k1", bytes(range(32)))
NAMES = Profile("names", 0.0, Transformation.PSEUDONYM)


def made(text: str, kind: str = "PERSON", key: PseudonymKey | None = KEY) -> str:
    return mask_text(text, [RecognizerResult(kind, 0, len(text), 1.0)], NAMES, key).text


def test_a_pseudonym_is_half_of_the_hmac_in_base_32() -> None:
    code = hmac.digest(bytes(range(32)), b"PERSON\0ada lovelace", "sha256")[:16]
    written = base64.b32encode(code).decode().rstrip("=").lower()
    assert KEY.pseudonym("Ada Lovelace", "PERSON") == f"<PERSON:k1.{written}>"
    assert KEY.pseudonym("Ada Lovelace", "PERSON") == "<PERSON:k1.wejo6uc6sqk35beknni3ukreyq>"


def test_the_hash_is_the_published_one() -> None:
    # Source: RFC 4231, test case 6 (a key longer than a block)
    message = b"Test Using Larger Than Block-Size Key - Hash Key First"
    expected = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
    assert hmac.digest(b"\xaa" * 131, message, "sha256").hex() == expected


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("PERSON", "Ada  Lovelace", "ADA LOVELACE"),
        ("CREDIT_CARD", "4111 1111 1111 1111", "4111-1111-1111-1111"),
        ("PHONE_NUMBER", "(212) 555-0187", "212.555.0187"),
        ("IBAN_CODE", "DE89 3704 0044 0532 0130 00", "de89370400440532013000"),
        ("EMAIL_ADDRESS", "Carol@Example.com", "carol@example.com"),
    ],
)
def test_two_writings_of_one_value_are_one(kind: str, one: str, other: str) -> None:
    assert made(one, kind) == made(other, kind)


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("IP_ADDRESS", "1.11.1.1", "11.1.1.1"),
        ("DATE_TIME", "1/11/2020", "11/1/2020"),
        ("PERSON", "Ann Elk", "Annelk"),
    ],
)
def test_two_values_are_two(kind: str, one: str, other: str) -> None:
    assert made(one, kind) != made(other, kind)


def test_another_key_another_type_another_version_make_another_pseudonym() -> None:
    other = PseudonymKey("k1", bytes(range(1, 33)))
    second = PseudonymKey("k2", bytes(range(32)))
    values = [made("Ada"), made("Ada", key=other), made("Ada", "LOCATION"), made("Ada", key=second)]
    assert len(set(values)) == 4
    assert values[3] == values[0].replace("k1", "k2")


@given(st.text(alphabet="abcXYZ é\U0001f600\ud800", min_size=4, max_size=40))
def test_a_pseudonym_holds_nothing_of_the_value_and_is_a_placeholder(value: str) -> None:
    if value.strip():
        name = made(value)
        assert value not in name
        assert PLACEHOLDER.fullmatch(name.strip())
        assert made(value) == name
        seen = [RecognizerResult("PERSON", 1, len(name), 0.9)]
        assert not residual(name, seen, frozenset({"PERSON"}))


def test_what_only_looks_like_a_pseudonym_counts() -> None:
    text = "<PERSON:k1.adalovelace>"
    assert residual(text, [RecognizerResult("PERSON", 11, 22, 0.9)], frozenset({"PERSON"}))


def test_a_secret_gets_no_name_of_its_own() -> None:
    assert made("hunter2", "PASSWORD") == "<PASSWORD>"


def test_a_profile_with_pseudonyms_takes_a_key() -> None:
    one = Profile("one", 0.0, entities={"PERSON": Treatment(Transformation.PSEUDONYM, 0.0)})
    for profile in (NAMES, one):
        with pytest.raises(ConfigurationError, match=r"takes a key.*key_conn_id"):
            mask_text("nothing here", [], profile)


@pytest.mark.parametrize(
    ("text", "version", "message"),
    [
        (base64.b64encode(b"canary-short").decode(), "k1", "32 to 1024 bytes"),
        (base64.b64encode(b"c" * 1025).decode(), "k1", "32 to 1024 bytes"),
        ("canary, not base 64", "k1", "not"),
        (base64.b64encode(bytes(32)).decode(), "K1", "version"),
        (base64.b64encode(bytes(32)).decode(), "toolongversion", "version"),
    ],
)
def test_a_key_with_a_fault_is_refused_and_not_repeated(text: str, version: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as refused:
        PseudonymKey.from_text(text, version)
    told = "".join(traceback.format_exception(refused.value))
    assert "canary" not in told.replace("test_pseudonyms", "")


def test_a_key_is_neither_shown_nor_written_down() -> None:
    assert "\\x00" not in repr(KEY)
    assert repr(KEY) == "PseudonymKey(version='k1')"
    with pytest.raises(TypeError):
        pickle.dumps(KEY)
