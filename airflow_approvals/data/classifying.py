"""Classifying: an independent scan of what is there, and the label that follows.

The scan looks with a lower threshold and more recognizers than masked; placeholders that
masking left are not findings. What cannot be scanned is listed, and is restricted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from airflow_approvals.core.classification import Label, column_label, highest
from airflow_approvals.core.evidence import ColumnEvidence, Evidence
from airflow_approvals.core.manifest import Manifest, Reference
from airflow_approvals.data import reasons
from airflow_approvals.data.faults import without_values
from airflow_approvals.data.formats import is_packed, reader_for
from airflow_approvals.data.lines import HashedLines
from airflow_approvals.data.masking import line_count
from airflow_approvals.data.names import NAME_COLUMN, NameScanner
from airflow_approvals.data.places import MANIFEST_NAME, Place
from airflow_approvals.data.records import Reader
from airflow_approvals.data.references import find_manifest, load_manifest
from airflow_approvals.data.scan import scanned
from airflow_approvals.data.sources import resolve_source
from airflow_approvals.detection.engine import Engine
from airflow_approvals.detection.masking import residual
from airflow_approvals.detection.profiles import CLASSIFICATION
from airflow_approvals.errors import DataError, FormatError, IntegrityError

Origin = str | Reference | Mapping[str, str]


def classify_data(
    source: Origin, *, engine: Engine | None = None, model: str | None = None, conn_id: str | None = None
) -> Evidence:
    """Scan a masked copy, or any data, and say what is in it.

    :param source: reference to a manifest, the folder of a masked copy, or one file, a glob or a
        folder of data.
    :param engine: what scans; an independent one is made when there is none.
    :param model: the language model of the engine that is made.
    :param conn_id: the Connection to open the source with.
    :returns: evidence whose subject is the manifest's digest, ``None`` for other data. An object
        that cannot be scanned is listed in it.
    :raises IntegrityError: when an object of a masked copy is not what its manifest says.
    :raises DataError: when there is nothing to scan.
    :raises DetectionError: when the scan cannot be carried out.
    """
    reference = _manifest_of(source, conn_id)
    scanner = engine or Engine(profile=CLASSIFICATION, model=model)
    if reference is None:
        return without_values("Classifying", lambda: _Scan(scanner).data(str(source), conn_id))
    manifest = load_manifest(reference)
    return classify_masked_copy(manifest, Place.of(reference.uri).parent, engine=scanner)


def classify_masked_copy(manifest: Manifest, folder: Place, *, engine: Engine) -> Evidence:
    """Scan the objects of a manifest, which lie in a folder; see :func:`classify_data`."""
    return without_values("Classifying", lambda: _Scan(engine).masked_copy(manifest, folder))


def _manifest_of(source: Origin, conn_id: str | None) -> Reference | None:
    if isinstance(source, Reference):
        return source
    if isinstance(source, Mapping):
        return Reference.from_document(source)
    place = Place.of(source, conn_id)
    if place.name != MANIFEST_NAME:
        place = place.child(MANIFEST_NAME)
    return find_manifest(place) if place.exists() else None


@dataclass
class _Column:
    """What was seen in one column so far."""

    cells: int = 0
    entities: Counter[str] = field(default_factory=Counter)


class _Scan:
    """One classification under way."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._placeholders = engine.entity_types
        self._columns: list[ColumnEvidence] = []
        self._not_scanned: list[tuple[str, str]] = []

    def masked_copy(self, manifest: Manifest, base: Place) -> Evidence:
        """Scan what the manifest names; what else lies there is never released."""
        names = NameScanner(self._engine, CLASSIFICATION)
        for entry in manifest.objects:
            digest = self._object(base.child(entry.uri), entry.uri, entry.uri, names, entry.size)
            if digest is not None and digest != entry.sha256:
                raise IntegrityError(
                    f"{entry.uri} is not what its manifest says: the digest differs.",
                    "The masked copy was changed after it was written; mask the data again.",
                )
        return self._evidence(manifest.digest)

    def data(self, uri: str, conn_id: str | None) -> Evidence:
        """Scan a data place."""
        source = resolve_source(uri, conn_id)
        names = NameScanner(self._engine, CLASSIFICATION)
        for name in source.names:
            shown, found = names.shown_path(name)
            if found:
                self._columns.append(_column_evidence(shown, NAME_COLUMN, _Column(1, found)))
            self._object(source.place(name), name, shown, names)
        return self._evidence(None)

    def _object(
        self, place: Place, name: str, shown: str, names: NameScanner, at_most: int | None = None
    ) -> str | None:
        """Scan one object; return its digest, ``None`` when it could not be read to its end.

        :raises IntegrityError: when it is longer than ``at_most`` bytes.
        """
        before = names.counts.copy()
        try:
            with place.reading(shown) as stream:
                lines = HashedLines(stream, shown, at_most, packed=is_packed(name))
                self._contents(lines, name, shown, names, before)
                lines.drain()
                return lines.digest
        except IntegrityError:
            raise
        except DataError:
            self._not_scanned.append((shown, reasons.UNREADABLE))
            return None

    def _contents(
        self, lines: HashedLines, name: str, shown: str, names: NameScanner, before: Counter[tuple[str, str]]
    ) -> None:
        columns: dict[str, _Column] = {}
        try:
            reader = reader_for(name, shown, names)
            for column, cells, counts in self._cells(reader, lines):
                seen = columns.setdefault(column, _Column())
                seen.cells += cells
                seen.entities += counts
        except FormatError as error:
            self._not_scanned.append((shown, error.reason))
            return
        for column in reader.columns or ([""] if reader.format == "text" else []):
            columns.setdefault(column, _Column())
        for (column, kind), count in (names.counts - before).items():
            columns.setdefault(column, _Column()).entities[kind] += count
        self._columns += [_column_evidence(shown, column, seen) for column, seen in columns.items()]

    def _cells(self, reader: Reader, lines: HashedLines) -> Iterator[tuple[str, int, Counter[str]]]:
        for record, findings in scanned(reader.records(lines), self._engine):
            if reader.format == "text" and not record.fields:
                yield "", line_count(record.raw), Counter()
            for cell, found in zip(record.fields, findings, strict=True):
                cells = line_count(record.raw) if reader.format == "text" else 1
                yield cell.column, cells, residual(cell.text, found, self._placeholders)

    def _evidence(self, subject: str | None) -> Evidence:
        labels = [column.label for column in self._columns]
        return Evidence(
            subject=subject,
            label=Label.RESTRICTED if self._not_scanned else highest(labels),
            columns=tuple(self._columns),
            engine=self._engine.description,
            model=self._engine.model,
            not_scanned=tuple(self._not_scanned),
        )


def _column_evidence(uri: str, column: str, seen: _Column) -> ColumnEvidence:
    entities = tuple(sorted(seen.entities.items()))
    return ColumnEvidence(
        uri=uri,
        column=column,
        label=column_label([kind for kind, _ in entities], scanned=seen.cells, total=seen.cells),
        scanned=seen.cells,
        total=seen.cells,
        entities=entities,
    )
