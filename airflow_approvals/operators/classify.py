"""Classifying as a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_approvals.operators.mask import manifest_totals

if TYPE_CHECKING:
    from airflow.sdk import Context


class ClassifyDataOperator(BaseOperator):
    """Scan data independently of how it was masked, and write what was found as evidence.

    Returns the evidence's reference ``{"uri", "digest"}``, which
    :class:`~airflow_approvals.sensors.approval.ApprovalSensor` takes. The log has counts per
    entity type, never a value.

    :param source: the reference that ``MaskDataOperator`` returned, or the path or URI of a file,
        a glob or a folder.
    :param target: where to write the evidence; beside the data by default (``_evidence.json`` in
        a folder). A glob needs one.
    :param conn_id: the Connection to open source and target with.
    """

    template_fields: Sequence[str] = ("source", "target")
    ui_color = "#cfe2f3"

    def __init__(
        self, *, source: Any, target: str | None = None, conn_id: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.target = target
        self.conn_id = conn_id

    def execute(self, context: Context) -> dict[str, str]:
        """Classify, and return the evidence's reference.

        :raises DataError: when there is nothing to scan, or the evidence cannot be written.
        :raises IntegrityError: when a masked copy is not what its manifest says.
        :raises DetectionError: when the scan cannot be carried out.
        """
        from airflow_approvals.data.classifying import classify_data
        from airflow_approvals.data.evidence import write_evidence
        from airflow_approvals.operators.model import configured_model

        source = self.source if isinstance(self.source, Mapping) else str(self.source)
        evidence = classify_data(source, model=configured_model(), conn_id=self.conn_id)
        reference = write_evidence(evidence, source, target=self.target, conn_id=self.conn_id)
        self.log.info(
            "Classified as %s: %s; %d objects not scanned.",
            evidence.label.word,
            manifest_totals(evidence.findings.items()),
            len(evidence.not_scanned),
        )
        return dict(reference.to_document())
