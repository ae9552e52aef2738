from __future__ import annotations

import base64
import json
import os
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from airflow_approvals.control.signing import SigningKey, generate_key_file
from airflow_approvals.errors import ConfigurationError, ContractError

CLAIMS = {"version": 1, "sink": "training-bucket", "not_after": 1_700_000_000, "note": "geprüft"}
KEY = SigningKey(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key.pem"
    generate_key_file(path)
    return path


def unpad(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def pad(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_generated_file_is_its_owners_and_loads(key_file):
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    key = SigningKey.load(key_file)
    assert key.verify(key.sign(CLAIMS)) == CLAIMS


def test_existing_file_is_left_as_it_is(tmp_path):
    path = tmp_path / "key.pem"
    path.write_text("precious")
    with pytest.raises(ConfigurationError, match="exists already"):
        generate_key_file(path)
    assert path.read_text() == "precious"


def test_dangling_link_is_not_written_through(tmp_path):
    (tmp_path / "key.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="exists already"):
        generate_key_file(tmp_path / "key.pem")
    assert not (tmp_path / "elsewhere").exists()


def test_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be created: No such file"):
        generate_key_file(tmp_path / "missing" / "key.pem")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610])
def test_file_that_others_can_use_is_refused(key_file, mode):
    key_file.chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        SigningKey.load(key_file)


def test_link_counts_by_the_file_it_leads_to(key_file, tmp_path):
    link = tmp_path / "link.pem"
    link.symlink_to(key_file)
    assert SigningKey.load(link).kid == SigningKey.load(key_file).kid
    key_file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        SigningKey.load(link)


def test_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigurationError, match="is no key file"):
        SigningKey.load(tmp_path / "pipe")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="No such file"):
        SigningKey.load(tmp_path / "key.pem")


def pem(key, encryption=None):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "no unencrypted PEM private key"),
        (b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n", "no unencrypted PEM"),
        (pem(KEY.private, BestAvailableEncryption(b"secret")), "no unencrypted PEM private key"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "is not an Ed25519 key"),
        (b"x" * 20_000, "is no key file"),
    ],
)
def test_file_without_a_usable_key_is_refused_and_not_quoted(tmp_path, content, expected):
    path = tmp_path / "key.pem"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=expected) as caught:
        SigningKey.load(path)
    assert "c2VjcmV0" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_header_names_the_algorithm_and_the_key():
    header = json.loads(unpad(KEY.sign(CLAIMS).split(".")[0]))
    assert header == {"alg": "Ed25519", "kid": KEY.kid, "typ": "approval-grant+jws"}


def test_signature_verifies_with_the_published_key_and_a_stock_library():
    (public,) = KEY.jwks()["keys"]
    assert "d" not in public
    assert (public["kty"], public["crv"], public["alg"], public["kid"]) == (
        "OKP",
        "Ed25519",
        "Ed25519",
        KEY.kid,
    )
    header, payload, signature = KEY.sign(CLAIMS).split(".")
    stock = ed25519.Ed25519PublicKey.from_public_bytes(unpad(public["x"]))
    stock.verify(unpad(signature), f"{header}.{payload}".encode())
    assert json.loads(unpad(payload)) == CLAIMS


@given(st.data())
def test_any_changed_character_is_refused(data):
    token = KEY.sign(CLAIMS)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda c: c != token[at]))
    changed = token[:at] + other + token[at + 1 :]
    try:
        claims = KEY.verify(changed)
    except ContractError:
        return
    # Base64 leaves spare bits in a last character; then nothing that counts has changed.
    assert claims == CLAIMS
    assert [unpad(part) for part in changed.split(".")] == [unpad(part) for part in token.split(".")]


@pytest.mark.parametrize("algorithm", ["none", "HS256", "EdDSA"])
def test_token_that_names_another_algorithm_is_refused(algorithm):
    _, payload, signature = KEY.sign(CLAIMS).split(".")
    header = pad(json.dumps({"alg": algorithm, "kid": KEY.kid, "typ": "approval-grant+jws"}).encode())
    for forged in (f"{header}.{payload}.{signature}", f"{header}.{payload}."):
        with pytest.raises(ContractError, match="not signed"):
            KEY.verify(forged)


def test_token_of_another_key_and_token_of_another_kind_are_refused():
    other = SigningKey(ed25519.Ed25519PrivateKey.generate())
    with pytest.raises(ContractError, match="not signed"):
        KEY.verify(other.sign(CLAIMS))
    header = pad(json.dumps({"alg": "Ed25519", "kid": KEY.kid, "typ": "JWT"}).encode())
    payload = pad(json.dumps(CLAIMS).encode())
    signature = pad(KEY.private.sign(f"{header}.{payload}".encode()))
    with pytest.raises(ContractError, match="no grant"):
        KEY.verify(f"{header}.{payload}.{signature}")


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "a.b.c.d", "{}", "é.é.é"])
def test_what_is_no_token_is_refused(token):
    with pytest.raises(ContractError):
        KEY.verify(token)


def test_fingerprint_is_keyed_framed_and_stable():
    other = SigningKey(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)))
    parts = ("aws", "host", "", "s3cret")
    assert KEY.fingerprint(parts) == KEY.fingerprint(list(parts))
    assert KEY.fingerprint(parts) != other.fingerprint(parts)
    # Computed once from RFC 5869 and RFC 2104 with the standard library alone, see below.
    assert KEY.fingerprint(parts) == f"hmac-sha256:{by_hand(bytes(range(32)), parts)}"


def by_hand(private, parts):
    import hashlib
    import hmac

    extracted = hmac.digest(bytes(32), private, hashlib.sha256)
    key = hmac.digest(extracted, b"airflow-approvals connection fingerprint v1\x01", hashlib.sha256)
    framed = b"".join(len(part.encode()).to_bytes(8, "big") + part.encode() for part in parts)
    return hmac.new(key, framed, hashlib.sha256).hexdigest()


texts = st.lists(st.text(), max_size=4)


@given(texts, texts)
def test_different_parts_have_different_fingerprints(one, other):
    assert (KEY.fingerprint(one) == KEY.fingerprint(other)) == (one == other)


def test_key_does_not_show_itself():
    shown = repr(KEY) + str(KEY)
    assert bytes(range(32)).hex() not in shown
    assert "Ed25519PrivateKey" not in shown
