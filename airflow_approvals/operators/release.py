"""Release as a task, behind a gate."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_approvals.core.documents import Fields
from airflow_approvals.core.grant import release_folder
from airflow_approvals.core.manifest import Manifest, Reference
from airflow_approvals.errors import DataError, IntegrityError

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReleaseDataOperator(BaseOperator):
    """Copy approved data to a sink, if it is still what was approved.

    The sink's Connection is opened by the server for the bound task of a live grant, and for
    nobody else. What is hashed is what is sent; nothing becomes visible unless every digest
    equals the manifest's. Where the custodian has copied (content-bound sinks), its signed
    receipt is checked against the manifest instead, and nothing is opened.

    Returns ``{"receipt", "objects", "manifest_digest", "grant"}``: where the receipt lies, how
    many objects were released, and what they were approved under.

    :param manifest: the reference that ``MaskDataOperator`` returned.
    :param sink: id of the sink in the policy.
    :param gate: what ``ApprovalSensor`` returned.
    """

    template_fields: Sequence[str] = ("manifest", "sink", "gate")
    ui_color = "#f4cccc"

    def __init__(self, *, manifest: Any, sink: str, gate: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.manifest = manifest
        self.sink = sink
        self.gate = gate

    def execute(self, context: Context) -> dict[str, Any]:
        """Release, and return what the receipt says in brief.

        :raises IntegrityError: when gate, sink, manifest and data do not belong together.
        :raises DataError: when the sink stays shut or cannot be written.
        """
        from airflow_approvals.data.places import Place
        from airflow_approvals.data.references import load_manifest
        from airflow_approvals.data.release import release_data

        reference = Reference.from_document(self.manifest)
        gate = _Gate(self.gate)
        gate.require(sink=self.sink, manifest_digest=reference.digest)
        manifest = load_manifest(reference)
        if gate.receipt is not None:
            return self._already_released(gate, manifest)
        require_open(gate.connection, self.sink)
        receipt = release_data(
            manifest,
            gate.destination(),
            source=Place.of(reference.uri).parent.uri,
            grant=gate.grant,
            conn_id=gate.connection,
        )
        self.log.info("Released %d objects to %s.", len(receipt.objects), self.sink)
        return _in_brief(receipt.destination, len(receipt.objects), receipt.manifest_digest, gate.grant)

    def _already_released(self, gate: _Gate, manifest: Manifest) -> dict[str, Any]:
        from airflow_approvals.data.signed_receipt import check_receipt

        token, key = gate.signed_receipt()
        signed = check_receipt(token, key, manifest, gate.grant)
        self.log.info("The custodian released %d objects to %s.", signed.objects, self.sink)
        return _in_brief(signed.destination, signed.objects, signed.manifest, signed.grant)


def _in_brief(destination: str, objects: int, manifest_digest: str, grant: str) -> dict[str, Any]:
    from airflow_approvals.data.places import RECEIPT_NAME

    return {
        "receipt": f"{destination}/{RECEIPT_NAME}",
        "objects": objects,
        "manifest_digest": manifest_digest,
        "grant": grant,
    }


class _Gate:
    """The grant reference that a gate returned."""

    def __init__(self, document: Any) -> None:
        if not isinstance(document, Mapping):
            raise IntegrityError(
                "The gate gave no grant.", "Pass the output of the ApprovalSensor as gate, and run after it."
            )
        fields = Fields(document, "gate")
        self.grant = fields.text("grant")
        self.sink = fields.text("sink")
        self.connection = fields.text("connection")
        self.manifest_digest = fields.text("manifest_digest")
        self._prefix = fields.text("uri_prefix")
        self.receipt = fields.raw("receipt")
        # The id becomes part of a path.
        if not re.fullmatch(r"[0-9A-Za-z-]{1,64}", self.grant):
            raise IntegrityError("The gate's grant has no valid id.")

    def require(self, *, sink: str, manifest_digest: str) -> None:
        if self.sink != sink:
            raise IntegrityError(f"The gate was opened for sink {self.sink!r}, not for {sink!r}.")
        if self.manifest_digest != manifest_digest:
            raise IntegrityError(
                "The gate was opened for other data than this manifest names.",
                "Pass the same manifest to the gate and to the release.",
            )

    def destination(self) -> str:
        return release_folder(self._prefix, self.manifest_digest, self.grant)

    def signed_receipt(self) -> tuple[str, Mapping[str, Any]]:
        """The custodian's receipt as a JWS, and the public key it names."""
        fields = Fields(self.receipt, "gate: receipt")
        token, key = fields.text("jws"), fields.raw("key")
        if not isinstance(key, Mapping):
            raise IntegrityError("The gate's receipt names no key.")
        return token, key


def require_open(connection: str, sink: str) -> None:
    """Ask for the sink's Connection, which only a usable grant opens.

    :raises DataError: when it stays shut.
    """
    from airflow.sdk.bases.hook import BaseHook

    failure = ""
    try:
        BaseHook.get_connection(connection)
    except Exception as error:
        failure = type(error).__name__
    if failure:
        raise DataError(
            f"The Connection {connection!r} of sink {sink!r} stays shut ({failure}).",
            "It opens for one task of a run whose gate holds a live grant; see the task's note.",
        )
