"""Records through the engine, in batches: what every cell holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from airflow_approvals.data.records import Record
from airflow_approvals.detection.engine import Engine
from airflow_approvals.detection.findings import Finding, certain
from airflow_approvals.detection.names import secret_entity

BATCH_RECORDS = 256
BATCH_CHARS = 512 * 1024

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
                found[place] = [*findings, *_by_name(column, text)]
        for row, record in enumerate(batch):
            yield record, [found[row, index] for index in range(len(record.fields))]


def context_words(column: str) -> Sequence[str]:
    """Return the words of a column's name, in lower case: they stand near each of its values."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", column)]


def _by_name(column: str, text: str) -> list[Finding]:
    """A column that is called a password holds passwords, whatever they look like."""
    entity_type = secret_entity(column) if column else None
    if entity_type is None or not text.strip():
        return []
    return [certain(entity_type, text)]


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
