"""Why an object was not scanned: a closed set, fit to be shown to approvers."""

from __future__ import annotations

UNREADABLE = "unreadable"
UNSUPPORTED = "unsupported format"
ENCODING = "not UTF-8"
EMPTY = "empty"
MALFORMED = "malformed"
NO_HEADER = "the first line is not a header"
LINE_TOO_LONG = "line too long"
COMPRESSION = "cannot be unpacked"

REASONS = frozenset(
    {UNREADABLE, UNSUPPORTED, ENCODING, EMPTY, MALFORMED, NO_HEADER, LINE_TOO_LONG, COMPRESSION}
)
