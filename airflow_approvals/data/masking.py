"""Masking a data place: a copy of the same structure, and the manifest of what it holds."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

from airflow_approvals import __version__
from airflow_approvals.core.digest import canonical_bytes
from airflow_approvals.core.manifest import EntityCount, Manifest, ObjectEntry, Reference
from airflow_approvals.data.compression import Gzip
from airflow_approvals.data.faults import without_values
from airflow_approvals.data.formats import extension, is_packed, reader_for
from airflow_approvals.data.lines import BOM, HashedLines
from airflow_approvals.data.names import NAME_COLUMN, NameScanner
from airflow_approvals.data.places import MANIFEST_NAME, Place
from airflow_approvals.data.records import Reader, unique
from airflow_approvals.data.scan import scanned
from airflow_approvals.data.sources import Source, resolve_source
from airflow_approvals.data.staging import Staging
from airflow_approvals.detection.engine import FAITHFUL, Engine
from airflow_approvals.detection.masking import mask_text, require_key
from airflow_approvals.detection.profiles import Profile, load_profile
from airflow_approvals.detection.pseudonyms import PseudonymKey
from airflow_approvals.errors import DataError, DetectionError


def mask_data(
    source: str,
    target: str,
    *,
    profile: str | Profile,
    engine: Engine | None = None,
    model: str | None = None,
    tier: str = FAITHFUL,
    processes: int | None = None,
    conn_id: str | None = None,
    key: PseudonymKey | None = None,
) -> Reference:
    """Write a masked copy of the source, and its manifest last.

    :param source: one file, a glob or a folder, as a local path or a URI.
    :param target: the folder to write; it must not exist yet.
    :param profile: name or YAML path of the masking profile.
    :param engine: what scans; one for the profile is made when there is none.
    :param model: the language model of the engine that is made.
    :param tier: what that engine looks for: ``faithful``, or ``patterns`` without a language model.
    :param processes: how many processes that engine scans with, 1 by default.
    :param conn_id: the Connection to open source and target with.
    :param key: what pseudonyms are made with, where the profile makes any.
    :returns: where the manifest lies, and its digest.
    :raises DataError: when source or target are not as they should be; nothing is written then.
    :raises DetectionError: when a scan cannot be carried out; nothing is written then.
    :raises ConfigurationError: when there is no such profile, or it takes a key and there is none.
    """
    treatments = load_profile(profile)
    require_key(treatments, key)
    found = resolve_source(source, conn_id)
    place = Place.of(target, conn_id)
    _refuse_overlap(found, place)
    with Staging(place, found.places()) as staging:
        scanner = engine or Engine(tier, profile=treatments, model=model, processes=processes)
        _require_same_profile(scanner, treatments)
        job = _Masking(scanner, treatments, key if treatments.needs_key else None)
        try:
            manifest = without_values(
                f"Masking {Place.of(source, conn_id).shown}", lambda: job.run(found, staging.partial)
            )
        finally:
            if engine is None:
                scanner.close()
        staging.partial.child(MANIFEST_NAME).write_bytes(canonical_bytes(manifest.to_document()))
        staging.publish(last=MANIFEST_NAME)
    return Reference(place.child(MANIFEST_NAME).uri, manifest.digest)


class _Masking:
    """One masked copy under way."""

    def __init__(self, engine: Engine, profile: Profile, key: PseudonymKey | None) -> None:
        self._engine = engine
        self._profile = profile
        self._key = key
        self._names = NameScanner(engine, profile)
        self._counts: Counter[tuple[str, str]] = Counter()

    def run(self, source: Source, target: Place) -> Manifest:
        """Mask every object into the target folder."""
        shown = self._shown_names(source)
        readers = {name: reader_for(name, shown[name], self._names) for name in source.names}
        entries = [
            self._object(source.place(name), target.child(shown[name]), shown[name], readers[name])
            for name in source.names
        ]
        counts = self._counts + self._names.counts
        return Manifest(
            objects=tuple(entries),
            profile=self._profile.name,
            profile_digest=self._profile.digest,
            model=self._engine.model,
            code_version=f"airflow-approvals {__version__}; {self._engine.description}{self._key_version}",
            counts=tuple(EntityCount(column, kind, count) for (column, kind), count in counts.items()),
        )

    @property
    def _key_version(self) -> str:
        return "" if self._key is None else f"; pseudonym key {self._key.version}"

    def _shown_names(self, source: Source) -> dict[str, str]:
        """Two names may mask to the same; the second is numbered, before its extension."""
        shown: dict[str, str] = {}
        for name in source.names:
            path, found = self._names.shown_path(name)
            for kind, count in found.items():
                self._counts[NAME_COLUMN, kind] += count
            suffix = extension(path)
            stem = path[: len(path) - len(suffix)]
            taken = {other[: len(other) - len(suffix)] for other in shown.values() if other.endswith(suffix)}
            shown[name] = unique(stem, taken, mark="-") + suffix
        return shown

    def _object(self, source: Place, target: Place, shown: str, reader: Reader) -> ObjectEntry:
        with source.reading(shown) as stream, target.writing(shown) as output:
            lines = HashedLines(stream, shown, packed=is_packed(shown))
            sink = _HashedOutput(output, shown)
            rows, mark = 0, BOM
            for text, counted in self._masked(reader, lines):
                sink.write(mark + text if lines.has_bom else text)
                rows, mark = rows + counted, ""
            sink.end()
        return ObjectEntry(shown, sink.digest, sink.size, rows, reader.format, tuple(reader.columns))

    def _masked(self, reader: Reader, lines: HashedLines) -> Iterator[tuple[str, int]]:
        for record, findings in scanned(reader.records(lines), self._engine):
            replaced: dict[int, str] = {}
            for index, (field, found) in enumerate(zip(record.fields, findings, strict=True)):
                masked = mask_text(field.text, found, self._profile, self._key)
                for kind, count in masked.counts.items():
                    self._counts[field.column, kind] += count
                if masked.text != field.text:
                    replaced[index] = masked.text
            raw = record.spliced(replaced)
            yield raw, line_count(raw) if reader.format == "text" else int(record.counts_as_row)


class _HashedOutput:
    """Writes text as UTF-8, packed where the name says so, and hashes what is written."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self._hash = hashlib.sha256()
        self._gzip = Gzip() if is_packed(name) else None
        self.size = 0

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def write(self, text: str) -> None:
        data = text.encode("utf-8")
        self._put(data if self._gzip is None else self._gzip.pack(data))

    def end(self) -> None:
        if self._gzip is not None:
            self._put(self._gzip.end())

    def _put(self, data: bytes) -> None:
        failure = ""
        try:
            self._stream.write(data)
        except Exception as error:
            failure = type(error).__name__
        if failure:
            raise DataError(f"The masked copy of {self._name} cannot be written ({failure}).")
        self._hash.update(data)
        self.size += len(data)


def line_count(text: str) -> int:
    """Return the number of lines in a text, the last one with or without a line end."""
    return text.count("\n") + (0 if text.endswith("\n") or not text else 1)


def _refuse_overlap(source: Source, target: Place) -> None:
    if source.whole and f"{target.uri}/".startswith(f"{source.base.uri.rstrip('/')}/"):
        raise DataError(
            f"The target {target.shown} lies inside the source.",
            "Write the masked copy elsewhere: it would become part of the next source.",
        )


def _require_same_profile(engine: Engine, profile: Profile) -> None:
    if engine.profile is not None and engine.profile != profile:
        raise DetectionError(
            f"The engine looks for what profile {engine.profile.name!r} says, not {profile.name!r}.",
            "Make it with the same profile, or with none.",
        )
