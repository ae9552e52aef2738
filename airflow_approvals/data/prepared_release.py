"""A release in two steps: prepared at the sink, unseen; then made visible, or taken back.

Between the two its caller decides, in a transaction, whether it may be seen at all. Both steps
can be repeated: after a kill at any point the same call finishes, or undoes, what was begun.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from airflow_approvals.core.digest import document_digest
from airflow_approvals.core.documents import Fields
from airflow_approvals.core.manifest import Manifest
from airflow_approvals.data.places import RECEIPT_NAME, Place
from airflow_approvals.data.receipt import Receipt
from airflow_approvals.data.references import MAX_DOCUMENT_BYTES, read_document
from airflow_approvals.data.release import fill, receipt_for, require_safe_names
from airflow_approvals.data.staging import Staging
from airflow_approvals.errors import ApprovalsError, IntegrityError


@dataclass(frozen=True)
class Attempt:
    """Where one attempt at a release is prepared, and where it becomes visible.

    ``token`` sets attempts apart: one that was thought dead and is not writes to a folder that
    nobody publishes any more. ``connection`` opens the destination, unless it is local.
    """

    destination: str
    connection: str
    token: str

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: object) -> Attempt:
        """Read the JSON object; :raises ContractError: when it breaks the schema."""
        fields = Fields(document, "attempt")
        attempt = cls(fields.text("destination"), fields.text("connection"), fields.text("token"))
        fields.end()
        return attempt

    def prepare(self, manifest: Manifest, *, source: Place, grant: str) -> Receipt:
        """Read every object once and copy it, hashed, to where nobody sees it; return its receipt.

        :param source: the folder where the manifest lies.
        :raises IntegrityError: when an object is not what the manifest says; nothing remains then.
        :raises DataError: when something cannot be read or written; nothing remains then.
        """
        require_safe_names(manifest)
        receipt = receipt_for(manifest, self._target.uri, grant)
        with self._staging([source]) as staging:
            fill(staging, manifest, source, receipt)
            staging.keep()
        return receipt

    def publish(self, digest: str) -> Receipt:
        """Make it visible, if it is not yet; return its receipt.

        :param digest: the digest of the receipt that was prepared.
        :raises IntegrityError: when nothing with that receipt stands there, seen or unseen.
        :raises DataError: when it cannot be looked at, or not be made visible, now.
        """
        staging = self._staging()
        receipt = _receipt_in(self._target, digest)
        if receipt is None:
            receipt = _receipt_in(staging.partial, digest)
            if receipt is None:
                # Another custodian may have made it visible between the two looks.
                receipt = _receipt_in(self._target, digest)
                if receipt is None:
                    raise IntegrityError(f"What was prepared for {self._target.shown} is no longer there.")
            else:
                staging.publish(last=RECEIPT_NAME)
        staging.tidy()
        return receipt

    def take_back(self) -> None:
        """Remove what was prepared and what never was finished; :raises DataError: when it cannot be."""
        self._staging().undo()

    def _staging(self, sources: list[Place] | None = None) -> Staging:
        return Staging(self._target, sources or [], token=self.token)

    @property
    def _target(self) -> Place:
        return Place.of(self.destination, self.connection)


def _receipt_in(folder: Place, digest: str) -> Receipt | None:
    """Return the receipt with that digest, ``None`` when none is there.

    :raises DataError: when that cannot be told now.
    """
    place = folder.child(RECEIPT_NAME)
    if not place.exists():
        return None
    text = place.read_bytes(MAX_DOCUMENT_BYTES)
    try:
        found = Receipt.from_document(read_document(text, "receipt"))
    except ApprovalsError:
        return None
    return found if document_digest(found.to_document()) == digest else None
