"""The key that signs grants, and what is derived from it.

1. Grants are compact JWS with Ed25519; the algorithm is fixed on both sides, never read from
   the token.
2. The key id is the key's own thumbprint, so that it cannot be mixed up.
3. Fingerprints of Connections are keyed with a key derived from the private key: nobody
   without it can guess a password by trying fingerprints.

Source: RFC 7515 (JWS), RFC 9864 (the algorithm name ``Ed25519``), RFC 8032 (Ed25519), RFC 7638
(thumbprint), RFC 5869 (HKDF), RFC 2104 (HMAC), https://www.rfc-editor.org/.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from airflow_approvals.errors import ConfigurationError, ContractError

ALGORITHM = "Ed25519"
TOKEN_TYPE = "approval-grant+jws"  # noqa: S105 - a media type
EVIDENCE_TYPE = "approval-evidence+jws"
_FINGERPRINT_KEY = b"airflow-approvals connection fingerprint v1"
_MAX_KEY_BYTES = 16 * 1024
_GENERATE = "Generate one with `airflow approvals keys generate FILE`."


@dataclass(frozen=True, repr=False)
class SigningKey:
    """A deployment's Ed25519 key. Only servers that issue or check grants hold it."""

    private: Ed25519PrivateKey

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Read a key from a PEM file (PKCS #8, not encrypted). A symbolic link is followed.

        :raises ConfigurationError: when the file cannot be read, is readable by others than
            its owner, or holds no Ed25519 private key.
        """
        try:
            key = load_pem_private_key(_read_private(path), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # The cause may quote the key's bytes.
            raise ConfigurationError(f"{path} holds no unencrypted PEM private key.", _GENERATE) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigurationError(f"The private key in {path} is not an Ed25519 key.", _GENERATE)
        return cls(key)

    @property
    def kid(self) -> str:
        """The key id: the public key's RFC 7638 thumbprint."""
        return self._jwk.thumbprint()

    @property
    def _jwk(self) -> OKPKey:
        return OKPKey.import_key(_pem(self.private))

    def sign(self, claims: Mapping[str, Any], *, kind: str = TOKEN_TYPE) -> str:
        """Return the claims as a compact JWS.

        :param kind: its media type, so that what is signed as one thing is never taken for another.
        """
        header = {"alg": ALGORITHM, "kid": self.kid, "typ": kind}
        payload = json.dumps(dict(claims), sort_keys=True, separators=(",", ":"))
        return jws.serialize_compact(header, payload, self._jwk, algorithms=[ALGORITHM])

    def verify(self, token: str) -> dict[str, Any]:
        """Return the claims of a JWS that this key signed.

        :raises ContractError: when it did not, or the token is no grant.
        """
        try:
            signed = jws.deserialize_compact(token, self._jwk, algorithms=[ALGORITHM])
            claims = json.loads(signed.payload)
        except (JoseError, ValueError, TypeError, RecursionError):
            raise ContractError("The grant is not signed by this server's key.") from None
        header = signed.headers()
        if header.get("typ") != TOKEN_TYPE or header.get("kid") != self.kid or not isinstance(claims, dict):
            raise ContractError("The token is signed by this server's key, but it is no grant.")
        return claims

    def jwks(self) -> dict[str, Any]:
        """Return the public key as a JSON Web Key Set (RFC 7517, RFC 8037)."""
        public = self._jwk.as_dict(private=False)
        return {"keys": [{**public, "kid": self.kid, "alg": ALGORITHM, "use": "sig"}]}

    def fingerprint(self, parts: Sequence[str]) -> str:
        """Return the keyed fingerprint of the parts, ``hmac-sha256:<64 hex>``.

        Each part is preceded by its length in eight bytes, so that no two lists of parts are
        hashed alike.
        """
        mac = hmac.new(self._fingerprint_key(), digestmod=hashlib.sha256)
        for part in parts:
            data = part.encode("utf-8", "surrogatepass")
            mac.update(len(data).to_bytes(8, "big") + data)
        return f"hmac-sha256:{mac.hexdigest()}"

    def _fingerprint_key(self) -> bytes:
        derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=_FINGERPRINT_KEY)
        return derive.derive(self.private.private_bytes_raw())


def generate_key_file(path: Path) -> None:
    """Write a new private key to a file that only its owner can read.

    :raises ConfigurationError: when the file exists already or cannot be written; a file that
        was begun is removed.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigurationError(
            f"{path} exists already and is left as it is.", "Name a file that does not exist."
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be created: {error.strerror}.") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_pem(Ed25519PrivateKey.generate()))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}.") from error


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read_private(path: Path) -> bytes:
    """Read a small regular file, after asking the open file itself who may read it."""
    try:
        # Without O_NONBLOCK a named pipe would hold the server up.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_KEY_BYTES:
                raise ConfigurationError(f"{path} is no key file.", _GENERATE)
            if status.st_mode & 0o077:
                raise ConfigurationError(
                    f"The signing key {path} can be read or changed by others than its owner.",
                    f"Run `chmod 600 {path}`, as the user the server runs as.",
                )
            return file.read()
    except OSError as error:
        raise ConfigurationError(
            f"The signing key {path} cannot be read: {error.strerror}.", _GENERATE
        ) from error
