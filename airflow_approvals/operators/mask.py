"""Masking as a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class MaskDataOperator(BaseOperator):
    """Write a masked copy of data, with a manifest of what it holds.

    Returns the manifest's reference ``{"uri", "digest"}``, which
    :class:`~airflow_approvals.operators.classify.ClassifyDataOperator` and
    :class:`~airflow_approvals.sensors.approval.ApprovalSensor` take. The log has counts per
    entity type, never a value.

    :param source: one file, a glob or a folder: a local path or any URI Airflow can open.
    :param target: the folder to write; it must not exist yet, so name the run in it.
    :param profile: name of a masking profile (``llm-training``, ``logs``, ``gdpr``, ``pci``,
        ``hipaa-safe-harbor``) or path to a YAML file.
    :param conn_id: the Connection to open source and target with.
    :param tier: what is looked for: ``faithful``, or ``patterns``: no language model, for logs at volume.
        The manifest names the tier; the scan afterwards looks for names all the same.
    :param processes: how many processes scan, 1 by default; they share the model's memory.
    :param key_conn_id: the Connection that holds the key, for a profile that makes pseudonyms: the key in
        base 64 as its password (32 bytes at least), its version as its login (``k1`` without one).
    """

    template_fields: Sequence[str] = ("source", "target", "profile")
    ui_color = "#d9ead3"

    def __init__(
        self,
        *,
        source: str,
        target: str,
        profile: str,
        conn_id: str | None = None,
        tier: str = "faithful",
        processes: int | None = None,
        key_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.target = target
        self.profile = profile
        self.conn_id = conn_id
        self.tier = tier
        self.processes = processes
        self.key_conn_id = key_conn_id

    def execute(self, context: Context) -> dict[str, str]:
        """Mask, and return the manifest's reference.

        :raises DataError: when source or target are not as they should be.
        :raises DetectionError: when a scan cannot be carried out.
        :raises ConfigurationError: when the profile takes a key and there is none.
        """
        from airflow_approvals.data.masking import mask_data
        from airflow_approvals.data.references import load_manifest
        from airflow_approvals.operators.model import configured_model
        from airflow_approvals.operators.pseudonym_key import pseudonym_key

        reference = mask_data(
            str(self.source),
            str(self.target),
            profile=self.profile,
            model=configured_model(),
            tier=self.tier,
            processes=self.processes,
            conn_id=self.conn_id,
            key=pseudonym_key(self.key_conn_id),
        )
        manifest = load_manifest(reference)
        totals = manifest_totals((count.entity_type, count.count) for count in manifest.counts)
        self.log.info("Masked %d objects, %d rows: %s.", len(manifest.objects), manifest.rows, totals)
        return dict(reference.to_document())


def manifest_totals(counts: Any) -> str:
    """Return ``EMAIL_ADDRESS 3, PERSON 2`` for pairs of entity type and count."""
    totals: dict[str, int] = {}
    for kind, count in counts:
        totals[kind] = totals.get(kind, 0) + count
    return ", ".join(f"{kind} {count}" for kind, count in sorted(totals.items())) or "nothing found"
