"""Which format an object has: its extension says, nothing is guessed from content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

from airflow_approvals.data import reasons
from airflow_approvals.data.compression import GZIP
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
    """Return the extension of a name, in lower case, with its dot; ``.csv.gz`` is one extension."""
    path = PurePosixPath(name)
    inner = PurePosixPath(path.stem).suffix.lower() if is_packed(name) else ""
    return inner + path.suffix.lower()


def is_packed(name: str) -> bool:
    """Whether a name says that the object is gzip."""
    return PurePosixPath(name).suffix.lower() == GZIP


def is_known(extension: str) -> bool:
    """Whether there is a reader for objects of that extension."""
    return extension.removesuffix(GZIP) in _READERS


def reader_for(name: str, shown: str, names: Names) -> Reader:
    """Return a reader for the object of that name.

    :param shown: the name as an error may show it.
    :raises FormatError: when no reader knows the extension.
    """
    make = _READERS.get(extension(name).removesuffix(GZIP))
    if make is None:
        raise FormatError(
            f"{shown} has no format that can be scanned.",
            f"The known extensions are {' '.join(KNOWN_EXTENSIONS)}, each also with {GZIP}.",
            reason=reasons.UNSUPPORTED,
        )
    return make(shown, names)
