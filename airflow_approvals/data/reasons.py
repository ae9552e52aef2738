"""Why an object was not scanned: a closed set, fit to be shown to approvers."""

from __future__ import annotations

UNREADABLE = "unreadable"
UNSUPPORTED = "unsupported format"
ENCODING = "not UTF-8"
EMPTY = "empty"
MALFORMED = "malformed"
LINE_TOO_LONG = "line too long"

REASONS = frozenset({UNREADABLE, UNSUPPORTED, ENCODING, EMPTY, MALFORMED, LINE_TOO_LONG})
