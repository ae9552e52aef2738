"""Canonical bytes and digests.

A document is hashed as RFC 8785 canonical JSON restricted to objects, arrays, strings,
integers, booleans and null: the forms that every database and language round-trips.
Floats are refused rather than rounded.

Source: RFC 8785 (JSON Canonicalization Scheme), https://www.rfc-editor.org/rfc/rfc8785;
FIPS 180-4 (SHA-256).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import rfc8785

from airflow_approvals.errors import ContractError

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def canonical_bytes(document: Mapping[str, Any]) -> bytes:
    """Return the RFC 8785 form of a document.

    :param document: a JSON object without floats.
    :raises ContractError: when a value has no exact JSON form (float, bytes, a lone
        surrogate, an integer beyond 2**53).
    """
    _refuse_floats(document)
    try:
        return rfc8785.dumps(dict(document))
    except (rfc8785.CanonicalizationError, TypeError, ValueError, RecursionError) as error:
        raise ContractError("The document has no canonical JSON form.") from error


def sha256_digest(data: bytes) -> str:
    """Return ``sha256:<64 hex>`` of the bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def document_digest(document: Mapping[str, Any]) -> str:
    """Return the digest of a document's canonical bytes.

    :raises ContractError: as :func:`canonical_bytes` does.
    """
    return sha256_digest(canonical_bytes(document))


def require_digest(value: object, what: str) -> str:
    """Return the value when it has the form of a digest.

    :raises ContractError: naming ``what`` otherwise.
    """
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ContractError(f"{what} is not of the form sha256:<64 hex digits>.")
    return value


def _refuse_floats(value: object) -> None:
    if isinstance(value, float):
        raise ContractError("The document holds a float; write it as an integer or a string.")
    if isinstance(value, Mapping):
        for item in value.values():
            _refuse_floats(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_floats(item)
