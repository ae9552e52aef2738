"""Which Connections a task names, as far as its definition shows it.

What is seen, in a task's attributes, in what a mapped task is given, and in lists and mappings
inside them:

1. attributes and keys named ``conn_id`` or ending in ``_conn_id``, when they hold a plain id;
2. URIs ``scheme://conn_id@...``, and objects with a ``conn_id``, such as ``ObjectStoragePath``;
3. Jinja: ``{{ conn.sink_a }}``, ``{{ conn['sink_a'] }}``, ``{{ conn.get('sink_a') }}``;
4. an attribute ``sink`` that names a sink of the policy.

What is not seen is whatever code does when it runs. ``docs/enforcement.md`` has the list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_URI = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://([^/@\s:'\"]+)@")
_JINJA = re.compile(r"""\bconn(?:\.(?!get\()([\w-]+)|(?:\.get\(|\[)\s*['"]([^'"]+))""")
_JINJA_MARK = re.compile(r"\{[{%]")
_DEEPEST = 6


def connections_named_by(task: Any, sinks: Mapping[str, str]) -> Iterator[str]:
    """Yield the ids of the Connections a task names, spelled as there; some more than once.

    :param task: an operator of a DAG file, or a mapped one.
    :param sinks: connection id by sink id.
    """
    for name, value in _given(task):
        if name == "sink" and isinstance(value, str) and value in sinks:
            yield sinks[value]
        yield from _in_value(name, value, _DEEPEST)


def is_deferrable(task: Any) -> bool:
    """Whether the task may go on in a triggerer, where nothing is bound to a grant."""
    flags = [value for name, value in _given(task) if name in ("deferrable", "start_from_trigger")]
    # A mapped task keeps this flag beside what it was given.
    return any(flag is True for flag in (*flags, getattr(task, "start_from_trigger", False)))


def _given(task: Any) -> Iterator[tuple[str, Any]]:
    """Yield what the author gave the task, by name."""
    if not getattr(task, "is_mapped", False) and not hasattr(task, "partial_kwargs"):
        yield from vars(task).items()
        return
    yield from task.partial_kwargs.items()
    expanded = getattr(task.expand_input, "value", None)
    if isinstance(expanded, Mapping):
        yield from expanded.items()
    elif expanded is not None:
        yield "", expanded


def _in_value(name: str, value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        if name.rstrip("s").endswith("conn_id"):
            yield value
        yield from _in_text(value)
    elif depth and isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _in_value(str(key), inner, depth - 1)
    elif depth and isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from _in_value(name, inner, depth - 1)
    elif isinstance(conn_id := _conn_id_of(value), str):
        yield conn_id


def _in_text(text: str) -> Iterator[str]:
    yield from _URI.findall(text)
    if _JINJA_MARK.search(text):
        yield from (dotted or quoted for dotted, quoted in _JINJA.findall(text))


def _conn_id_of(value: Any) -> Any:
    # An author's property may raise anything.
    try:
        return getattr(value, "conn_id", None)
    except Exception:
        return None
