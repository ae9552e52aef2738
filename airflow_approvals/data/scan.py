"""Records through the engine, in batches: what every cell holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from airflow_approvals.data.records import Record
from airflow_approvals.detection.columns import column_entity, says_nothing
from airflow_approvals.detection.engine import Engine
from airflow_approvals.detection.findings import Finding, certain, occurrences, plausible

BATCH_RECORDS = 256
BATCH_CHARS = 512 * 1024
#: Shorter values (a town called Au) would be found inside other words.
MIN_REPEATED_CHARS = 5

#: A record and, for each of its fields, the findings.
Scanned = tuple[Record, list[list[Finding]]]


def scanned(records: Iterable[Record], engine: Engine) -> Iterator[Scanned]:
    """Yield every record with the findings of its fields; memory holds one batch.

    :raises DetectionError: when the scan cannot be carried out.
    """
    for batch in _batches(records):
        found: dict[tuple[int, int], list[Finding]] = {}
        for column, places in _by_column(batch).items():
            texts = [batch[row].fields[index].text for row, index in places]
            results = engine.analyze(texts, context=context_words(column))
            for place, text, findings in zip(places, texts, results, strict=True):
                found[place] = [*plausible(findings, text), *_by_name(column, text)]
        for row, record in enumerate(batch):
            of_fields = [found[row, index] for index in range(len(record.fields))]
            yield record, _repeated(record, of_fields)


def context_words(column: str) -> Sequence[str]:
    """Return the words of a column's name, in lower case: they stand near each of its values."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", column)]


def _by_name(column: str, text: str) -> list[Finding]:
    """A column that is called a password holds passwords, whatever they look like."""
    entity_type = column_entity(column) if column else None
    if entity_type is None or says_nothing(text):
        return []
    return [certain(entity_type, text)]


def _repeated(record: Record, found: list[list[Finding]]) -> list[list[Finding]]:
    """A value that its column's name gives away is found wherever the same record repeats it."""
    known = {
        field.text.strip(): kind
        for field in record.fields
        if field.column and (kind := column_entity(field.column)) and not says_nothing(field.text)
    }
    known = {text: kind for text, kind in known.items() if len(text) >= MIN_REPEATED_CHARS}
    return [
        [*findings, *(again for text, kind in known.items() for again in occurrences(kind, text, field.text))]
        for field, findings in zip(record.fields, found, strict=True)
    ]


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    size = 0
    for record in records:
        batch.append(record)
        size += len(record.raw)
        if len(batch) >= BATCH_RECORDS or size >= BATCH_CHARS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _by_column(batch: list[Record]) -> dict[str, list[tuple[int, int]]]:
    places: dict[str, list[tuple[int, int]]] = {}
    for row, record in enumerate(batch):
        for index, field in enumerate(record.fields):
            places.setdefault(field.column, []).append((row, index))
    return places
