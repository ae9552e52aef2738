"""Where a Connection leads, in the few words an approver may see: never an account or a secret."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

#: Keys of a Connection's ``extra`` that lead somewhere else than its host.
_LEADING = ("endpoint_url", "host", "endpoint", "base_url")
_MAX_TEXT = 200
UNREADABLE = "(an address of a form that is not shown)"


def endpoint_of(parts: Sequence[str]) -> str:
    """Return type, host and port of a Connection, such as ``http://sink.example:8443``.

    What may hold a login, a token or a path is cut off: of each address only the authority is left.

    :param parts: type, host, port, schema, login, password and extra, as text.
    """
    kind, host, port, extra = parts[0], _authority(parts[1]), parts[2], parts[6]
    place = f"{kind}://{host}" + (f":{port}" if port else "") if host or port else f"{kind} without a host"
    elsewhere = [found for key in _LEADING if (found := _authority(_extra(extra).get(key)))]
    return ", ".join([place, *(f"by its extra {one}" for one in elsewhere)])[:_MAX_TEXT]


def _authority(address: object) -> str:
    """Return host and port of an address with or without a scheme.

    An ``@`` behind a delimiter may end a password or begin a deception: then no part is shown.
    """
    if not isinstance(address, str):
        return ""
    rest = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*://", "", address.strip())
    head = re.split(r"[/\\?#;,\s]", rest, maxsplit=1)[0]
    return UNREADABLE if "@" in rest[len(head) :] else head.rsplit("@", 1)[-1]


def _extra(text: str) -> dict[str, object]:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
