"""What really lies in the bucket, found by hashing it, without asking Airflow or the package."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

BOOKKEEPING = {"_receipt.json"}


def count_released(bucket: Path, masked: Path) -> int:
    """Return how many released objects are byte for byte what a manifest names.

    :raises RuntimeError: when one differs, is missing, or was never in a manifest.
    """
    wanted = {digest for manifest in masked.rglob("_manifest.json") for digest in _digests(manifest)}
    found = {path: _sha256(path) for path in objects(bucket)}
    foreign = [path.name for path, digest in found.items() if digest not in wanted]
    missing = wanted - set(found.values())
    if foreign or missing:
        raise RuntimeError(
            f"The bucket is not what was approved: {len(foreign)} foreign, {len(missing)} missing objects."
        )
    return len(found)


def objects(bucket: Path) -> list[Path]:
    """Return the released objects, without the receipts beside them."""
    return sorted(path for path in bucket.rglob("*") if path.is_file() and path.name not in BOOKKEEPING)


def _digests(manifest: Path) -> list[str]:
    return [one["sha256"] for one in json.loads(manifest.read_text())["objects"]]


def _sha256(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
