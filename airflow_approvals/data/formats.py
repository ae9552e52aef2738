"""Which format an object has: its extension says, nothing is guessed from content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

from airflow_approvals.data import reasons
from airflow_approvals.data.csv_records import CsvReader
from airflow_approvals.data.json_records import JsonLinesReader
from airflow_approvals.data.records import Names, Reader
from airflow_approvals.data.text_records import TextReader
from airflow_approvals.errors import FormatError

_READERS: dict[str, Callable[[str, Names], Reader]] = {
    ".csv": CsvReader,
    ".tsv": lambda name, names: CsvReader(name, names, delimiter="\t"),
    ".jsonl": JsonLinesReader,
    ".ndjson": JsonLinesReader,
    ".txt": lambda name, names: TextReader(paragraphs=True),
    ".log": lambda name, names: TextReader(paragraphs=False),
}
KNOWN_EXTENSIONS = tuple(_READERS)


def extension(name: str) -> str:
    """Return the extension of a name, in lower case, with its dot."""
    return PurePosixPath(name).suffix.lower()


def reader_for(name: str, shown: str, names: Names) -> Reader:
    """Return a reader for the object of that name.

    :param shown: the name as an error may show it.
    :raises FormatError: when no reader knows the extension.
    """
    make = _READERS.get(extension(name))
    if make is None:
        raise FormatError(
            f"{shown} has no format that can be scanned.",
            f"The known extensions are {' '.join(KNOWN_EXTENSIONS)}.",
            reason=reasons.UNSUPPORTED,
        )
    return make(shown, names)
