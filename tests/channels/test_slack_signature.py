from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_approvals.channels.slack_signature import parse_secrets, verify
from airflow_approvals.errors import ConfigurationError, SignatureError

# Source: https://docs.slack.dev/authentication/verifying-requests-from-slack/, the worked example.
SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
TIMESTAMP = "1531420618"
BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
AT = float(TIMESTAMP)


def headers(timestamp: bytes = TIMESTAMP.encode(), signature: bytes = SIGNATURE.encode()):
    return [(b"X-Slack-Request-Timestamp", timestamp), (b"X-Slack-Signature", signature)]


def proven(pairs, body=BODY, secrets=(SECRET,), at=AT):
    return verify(pairs, body, secrets=secrets, now=lambda: at)


def test_slacks_published_example_is_proven():
    assert proven(headers()).body == BODY


def test_our_own_arithmetic_agrees_with_the_published_example():
    base = b"v0:" + TIMESTAMP.encode() + b":" + BODY
    assert "v0=" + hmac.new(SECRET.encode(), base, hashlib.sha256).hexdigest() == SIGNATURE


@pytest.mark.parametrize("seconds", [-300, -1, 0, 1, 300])
def test_within_five_minutes_either_way_is_proven(seconds):
    assert proven(headers(), at=AT + seconds).body == BODY


@pytest.mark.parametrize("seconds", [-301, 301, 86400])
def test_outside_the_window_is_refused(seconds):
    with pytest.raises(SignatureError):
        proven(headers(), at=AT + seconds)


@given(position=st.integers(0, len(BODY) - 1), flip=st.integers(1, 255))
def test_any_changed_byte_is_refused(position, flip):
    changed = BODY[:position] + bytes([BODY[position] ^ flip]) + BODY[position + 1 :]
    with pytest.raises(SignatureError):
        proven(headers(), body=changed)


@given(timestamp=st.binary(max_size=40), signature=st.binary(max_size=90), body=st.binary(max_size=60))
def test_hostile_bytes_are_refused_and_nothing_else(timestamp, signature, body):
    with pytest.raises(SignatureError):
        proven(headers(timestamp, signature), body=body)


@pytest.mark.parametrize(
    "timestamp",
    [
        b"abc",
        b"",
        b"1.5",
        b"9" * 5000,
        b"-1531420618",
        b" 1531420618",
        b"1531420618\n",
        "\u0661\u0665".encode(),
    ],
)
def test_a_malformed_timestamp_is_refused(timestamp):
    with pytest.raises(SignatureError):
        proven(headers(timestamp))


@pytest.mark.parametrize(
    "signature",
    [b"", SIGNATURE.upper().encode(), SIGNATURE[:-1].encode(), SIGNATURE.encode() + b"\n", "v0=é".encode()],
)
def test_a_malformed_signature_is_refused(signature):
    with pytest.raises(SignatureError):
        proven(headers(signature=signature))


@pytest.mark.parametrize(
    "pairs", [[], headers()[:1], headers()[1:], headers() * 2, [*headers(), headers()[1]]]
)
def test_missing_or_repeated_headers_are_refused(pairs):
    with pytest.raises(SignatureError):
        proven(pairs)


def test_a_body_that_is_not_utf8_is_refused():
    with pytest.raises(SignatureError):
        proven(headers(), body=b"\xff\xfe")


def test_during_a_rotation_either_secret_proves_and_then_only_the_new_one():
    assert proven(headers(), secrets=("new", SECRET)).body == BODY
    with pytest.raises(SignatureError):
        proven(headers(), secrets=("new",))


def test_no_secret_proves_nothing():
    with pytest.raises(SignatureError):
        proven(headers(), secrets=())


def test_the_id_is_that_of_the_replay_and_of_nothing_else():
    assert proven(headers()).id == proven(headers(), at=AT + 60).id
    other = b"payload=other"
    mac = hmac.new(SECRET.encode(), b"v0:" + TIMESTAMP.encode() + b":" + other, hashlib.sha256).hexdigest()
    assert proven(headers(signature=f"v0={mac}".encode()), body=other).id != proven(headers()).id


def test_the_error_holds_neither_body_nor_signature():
    with pytest.raises(SignatureError) as caught:
        proven(headers(), body=BODY + b"x")
    assert SIGNATURE not in repr(caught.value)
    assert "roadrunner" not in repr(caught.value)


def test_a_secret_file_may_hold_two_secrets():
    assert parse_secrets("old\n\n new \n") == ("old", "new")


@pytest.mark.parametrize("text", ["", "\n \n", "a\nb\nc"])
def test_a_secret_file_with_none_or_too_many_is_an_error(text):
    with pytest.raises(ConfigurationError):
        parse_secrets(text)
