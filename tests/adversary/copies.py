"""A masked copy as the DAGs under attack hand it to their gates."""

from __future__ import annotations

import json
from pathlib import Path

from airflow_approvals.core.digest import canonical_bytes, sha256_digest
from airflow_approvals.core.manifest import Manifest, ObjectEntry


def write_copy(room: Path) -> None:
    """Write one object and its manifest, and the reference that the DAGs hand to their gates."""
    room.mkdir(parents=True, exist_ok=True)
    content = b"a masked line\n"
    (room / "lines.txt").write_bytes(content)
    entry = ObjectEntry("lines.txt", sha256_digest(content), len(content), 1, "text")
    manifest = Manifest((entry,), "test", sha256_digest(b"profile"), "none", "0", ())
    (room / "_manifest.json").write_bytes(canonical_bytes(manifest.to_document()))
    reference = {"uri": (room / "_manifest.json").as_uri(), "digest": manifest.digest}
    (room / "reference.json").write_text(json.dumps(reference))
