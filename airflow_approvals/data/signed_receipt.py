"""The custodian's word that the approved objects lie at the sink, for whoever can read no sink.

A compact JWS over the digest of the receipt at the destination. Whoever has the manifest can
work out the receipt, and so check every object's name, digest and size without a credential.

Source: RFC 7515 (JWS), RFC 9864 (the algorithm name ``Ed25519``), https://www.rfc-editor.org/.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from airflow_approvals.core.digest import document_digest, require_digest
from airflow_approvals.core.documents import Fields
from airflow_approvals.core.manifest import Manifest
from airflow_approvals.data.receipt import Receipt
from airflow_approvals.data.release import receipt_for
from airflow_approvals.errors import ApprovalsError, IntegrityError

RECEIPT_TYPE = "approval-receipt+jws"
SIGNED_RECEIPT_VERSION = 1
_ALGORITHM = "Ed25519"


@dataclass(frozen=True)
class SignedReceipt:
    """What the custodian signs about a release.

    ``receipt`` is the digest of the receipt's canonical bytes; ``size`` is in bytes.
    """

    receipt: str
    destination: str
    manifest: str
    grant: str
    sink: str
    objects: int
    size: int

    @classmethod
    def of(cls, receipt: Receipt, sink: str) -> SignedReceipt:
        """Summarise the receipt of a release under a grant."""
        return cls(
            receipt=document_digest(receipt.to_document()),
            destination=receipt.destination,
            manifest=receipt.manifest_digest,
            grant=receipt.grant or "",
            sink=sink,
            objects=len(receipt.objects),
            size=sum(released.size for released in receipt.objects),
        )

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object that is signed."""
        return {"version": SIGNED_RECEIPT_VERSION, **asdict(self)}

    @classmethod
    def from_document(cls, document: object) -> SignedReceipt:
        """Read the JSON object; :raises ContractError: when it breaks the schema."""
        fields = Fields(document, "signed receipt")
        fields.version(SIGNED_RECEIPT_VERSION)
        signed = cls(
            receipt=require_digest(fields.raw("receipt"), "signed receipt: receipt"),
            destination=fields.text("destination"),
            manifest=require_digest(fields.raw("manifest"), "signed receipt: manifest"),
            grant=fields.text("grant"),
            sink=fields.text("sink"),
            objects=fields.count("objects"),
            size=fields.count("size"),
        )
        fields.end()
        return signed


def check_receipt(token: str, key: Mapping[str, Any], manifest: Manifest, grant: str) -> SignedReceipt:
    """Return what the custodian signed, if it is about the release of this manifest under this grant.

    :param key: the custodian's public key as a JSON Web Key (RFC 8037).
    :raises IntegrityError: when the signature does not hold, or other objects were released.
    """
    signed = _verified(token, key)
    expected = SignedReceipt.of(receipt_for(manifest, signed.destination, grant), signed.sink)
    if signed != expected:
        raise IntegrityError(
            "The custodian's receipt is about other objects than this manifest names, or another grant.",
            "Pass the manifest that was approved, and the output of its gate.",
        )
    return signed


def _verified(token: str, key: Mapping[str, Any]) -> SignedReceipt:
    try:
        opened = jws.deserialize_compact(token, OKPKey.import_key(dict(key)), algorithms=[_ALGORITHM])
        if opened.headers().get("typ") == RECEIPT_TYPE:
            return SignedReceipt.from_document(json.loads(opened.payload))
    except (JoseError, ApprovalsError, ValueError, TypeError, KeyError, RecursionError):
        pass
    raise IntegrityError(
        "The receipt is not signed by the custodian that the gate names.",
        "Clear the gate to ask again, and find out what changed its output.",
    )
