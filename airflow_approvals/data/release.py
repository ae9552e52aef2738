"""Release: the bytes that are hashed are the bytes that are sent.

1. Every object is opened and read once, into a spool: a file on this machine's disk that has no
   name and is readable by nobody else. It is hashed on the way.
2. Per object: only when digest and size of the spool equal the manifest's is anything of it sent,
   and it is sent from the spool. Of an object that is not what was approved, not one byte reaches
   the sink, not even a place that is not visible yet. Objects before it were sent, as approved,
   into such a place, and are removed again. The disk holds one object at a time.
3. Nothing becomes visible unless every object was sent; the receipt is written last, and a
   destination without one is not a release.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from airflow_approvals.core.digest import canonical_bytes
from airflow_approvals.core.manifest import Manifest, ObjectEntry
from airflow_approvals.data.faults import without_values
from airflow_approvals.data.places import RECEIPT_NAME, RESERVED_NAMES, Place
from airflow_approvals.data.receipt import Receipt, ReleasedObject
from airflow_approvals.data.references import MAX_DOCUMENT_BYTES, read_document
from airflow_approvals.data.staging import Staging
from airflow_approvals.errors import ApprovalsError, DataError, IntegrityError

_CHUNK_BYTES = 1024 * 1024


def release_data(
    manifest: Manifest,
    destination: str,
    *,
    source: str,
    grant: str | None = None,
    conn_id: str | None = None,
) -> Receipt:
    """Copy the objects of a manifest to a destination.

    :param destination: the folder to write; it must not exist yet.
    :param source: the folder of the masked copy, where the manifest lies.
    :param grant: id of the grant, for the receipt.
    :param conn_id: the Connection to open the destination with.
    :returns: the receipt, which lies at the destination as ``_receipt.json``. Releasing again
        with the same manifest and grant returns the receipt that is there.
    :raises IntegrityError: when an object is not what the manifest says; nothing of it was sent,
        and nothing is visible then.
    :raises DataError: when something cannot be read, spooled or written, or a name leads out of
        the folder.
    """
    require_safe_names(manifest)
    target, base = Place.of(destination, conn_id), Place.of(source)
    receipt = receipt_for(manifest, target.uri, grant)
    if is_complete(target, receipt):
        return receipt
    with Staging(target, [base]) as staging:
        fill(staging, manifest, base, receipt)
        staging.publish(last=RECEIPT_NAME)
    return receipt


def fill(staging: Staging, manifest: Manifest, base: Place, receipt: Receipt) -> None:
    """Copy the objects of a manifest, and the receipt, to where a release is prepared.

    :raises IntegrityError: when an object is not what the manifest says.
    :raises DataError: when something cannot be read, spooled or written.
    """
    shown = staging.target.shown
    without_values(f"Releasing to {shown}", lambda: _copy_all(manifest, base, staging.partial))
    staging.partial.child(RECEIPT_NAME).write_bytes(canonical_bytes(receipt.to_document()))


def require_safe_names(manifest: Manifest) -> None:
    """Check that a manifest names objects below its folder, each once, and at least one.

    :raises DataError: when it does not.
    """
    names = [_safe_name(entry.uri) for entry in manifest.objects]
    if len(set(names)) != len(names) or not names:
        raise DataError("The manifest names an object twice, or none at all.", "Mask the data again.")


def receipt_for(manifest: Manifest, destination: str, grant: str | None) -> Receipt:
    """Return the receipt of a manifest's release.

    :param destination: the URI of the folder the objects lie in.
    """
    return Receipt(
        destination=destination,
        manifest_digest=manifest.digest,
        grant=grant,
        objects=tuple(ReleasedObject(e.uri, e.sha256, e.size) for e in manifest.objects),
    )


def is_complete(target: Place, expected: Receipt) -> bool:
    """Whether this very release is finished at the target."""
    place = target.child(RECEIPT_NAME)
    if not place.exists():
        return False
    try:
        there = Receipt.from_document(read_document(place.read_bytes(MAX_DOCUMENT_BYTES), "receipt"))
    except ApprovalsError:
        return False
    return there.to_document() == expected.to_document()


def _copy_all(manifest: Manifest, base: Place, partial: Place) -> None:
    for entry in manifest.objects:
        with _spooled(base.child(entry.uri), entry) as spool:
            _send(spool, partial.child(entry.uri), entry)


@contextmanager
def _spooled(source: Place, entry: ObjectEntry) -> Iterator[BinaryIO]:
    """Open a spool that holds the object as it was approved.

    :raises IntegrityError: when the object is another one.
    """
    with _new_spool(entry) as spool:
        with source.reading(entry.uri) as stream:
            digest, size = _pump(stream, spool, entry)
        if (digest, size) != (entry.sha256, entry.size):
            raise IntegrityError(
                f"{entry.uri} is not what was approved: its digest differs from the manifest's.",
                "The masked copy was changed afterwards; mask, classify and ask again.",
            )
        spool.seek(0)
        yield spool


def _new_spool(entry: ObjectEntry) -> BinaryIO:
    """Return a file of mode 0600 whose name is gone at once, so that even a kill leaves nothing."""
    try:
        # Unbuffered: a full disk shows in the write, and not once more in closing.
        return cast("BinaryIO", tempfile.TemporaryFile(buffering=0))
    except OSError as error:
        failure = error.strerror or type(error).__name__
    raise _no_spool(entry, failure)


def _no_spool(entry: ObjectEntry, failure: str) -> DataError:
    return DataError(
        f"{entry.uri} cannot be held on this machine's disk: {failure}.",
        "The folder for temporary files (TMPDIR) needs room for the largest object.",
    )


def _pump(stream: BinaryIO, spool: BinaryIO, entry: ObjectEntry) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    while chunk := stream.read(_CHUNK_BYTES):
        # Bytes beyond the approved size are never held, however many there are.
        size += len(chunk)
        if size > entry.size:
            break
        digest.update(chunk)
        _hold(spool, chunk, entry)
    return f"sha256:{digest.hexdigest()}", size


def _hold(spool: BinaryIO, chunk: bytes, entry: ObjectEntry) -> None:
    failure = ""
    view = memoryview(chunk)
    try:
        # A raw file may take less than it is given.
        while view:
            view = view[spool.write(view) :]
    except OSError as error:
        failure = error.strerror or type(error).__name__
    if failure:
        raise _no_spool(entry, failure)


def _send(spool: BinaryIO, target: Place, entry: ObjectEntry) -> None:
    with target.writing(entry.uri) as output:
        while chunk := spool.read(_CHUNK_BYTES):
            output.write(chunk)


def _safe_name(name: str) -> str:
    """Return a name that stays below its folder.

    :raises DataError: when it is absolute, climbs, or is one of our own documents.
    """
    parts = name.split("/")
    escapes = any(part in ("", ".", "..") for part in parts) or "\\" in name or "\0" in name
    if escapes or "://" in name or parts[-1] in RESERVED_NAMES:
        raise DataError(
            "The manifest names an object outside its folder.",
            "Object names are relative, without '..'; mask the data again.",
        )
    return name
