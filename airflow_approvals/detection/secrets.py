"""Where secrets stand in a text, with the exact span to mask.

1. The span covers the whole secret; what surrounds it (``password=``) stays readable.
2. A secret that spans lines (a PEM block) is one span.
3. Patterns are bounded: no input makes them cost more than linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from airflow_approvals.detection.vendor_keys import VENDOR_PATTERNS

API_KEY = "API_KEY"
ACCESS_TOKEN = "ACCESS_TOKEN"  # noqa: S105  an entity type, not a token
PRIVATE_KEY = "PRIVATE_KEY"
CONNECTION_STRING = "CONNECTION_STRING"
PASSWORD = "PASSWORD"  # noqa: S105  an entity type, not a password

SECRET_ENTITIES = (API_KEY, ACCESS_TOKEN, PRIVATE_KEY, CONNECTION_STRING, PASSWORD)

#: No key block is longer than this many characters; the pattern below repeats the figure.
MAX_BLOCK = 65_536

#: Between a name and its value: ``=``, ``:``, ``=>``, quotes (also escaped ones), one line break.
_ASSIGN = r"\\?[\"']?[ \t]{0,8}(?:=>|:=|[:=])[ \t]{0,8}\n?[ \t]{0,16}"
#: A value: quoted (also with escaped quotes), or up to the next separator.
_VALUE = (
    r"(?:\\\"(?P<escaped>[^\"\\\n]{1,400})\\\""
    r"|\"(?P<double>(?:[^\"\\\n]|\\.){1,400})\""
    r"|'(?P<single>(?:[^'\\\n]|\\.){1,400})'"
    r"|(?P<bare>[^\s\"'`,;&<>()\[\]{}\\|]{3,400}))"
)
_NOT_A_VALUE = re.compile(r"(?i)(?:none|null|nil|true|false|undefined|required|optional|\*+|x+|\.+|-+)")

_PEM = (
    r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?:(?!-----BEGIN)[\s\S]){0,65536}?-----END (?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----"
    r"|(?:\\[rn]|[\sA-Za-z0-9+/=]){0,65536})"
)

_Patterns = tuple[tuple[str, re.Pattern[str]], ...]

_API_KEY: _Patterns = (
    *VENDOR_PATTERNS,
    (
        "named API key",
        re.compile(
            r"(?i)(?:api[_-]?key|apikey|access[_-]?key(?:[_-]?id)?|account[_-]?key|x-api-key)"
            + _ASSIGN
            + _VALUE
        ),
    ),
)

_ACCESS_TOKEN: _Patterns = (
    # Source: RFC 7519 section 3 (JWT), RFC 7516 section 3 (five parts when encrypted)
    (
        "JSON Web Token",
        re.compile(
            r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{2,8000}\.[A-Za-z0-9_-]{0,8000}"
            r"(?:\.[A-Za-z0-9_-]{0,8000}){0,2}"
        ),
    ),
    # Source: RFC 6750 section 2.1
    ("bearer token", re.compile(r"(?i)\bbearer[ \t]{1,4}(?P<value>[A-Za-z0-9._~+/=-]{8,8000})")),
    # Source: RFC 7617 section 2
    (
        "basic credentials",
        re.compile(
            r"(?i)authorization\\?[\"']?[ \t]{0,4}[:=][ \t]{0,4}\\?[\"']?basic[ \t]{1,4}"
            r"(?P<value>[A-Za-z0-9+/=]{6,2000})"
        ),
    ),
    (
        "named token",
        re.compile(
            r"(?i)(?:(?:access|auth|refresh|session|security|id|csrf|bot|api|private)[_-]?token"
            r"|(?<![A-Za-z])token|session[_-]?id|sessionid|signature)" + _ASSIGN + _VALUE
        ),
    ),
    # Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html;
    # https://learn.microsoft.com/azure/storage/common/storage-sas-overview (sig=)
    (
        "signed URL",
        re.compile(r"(?i)[?&](?:x-amz-signature|x-goog-signature|sig)=(?P<value>[A-Za-z0-9%+/=_-]{16,1000})"),
    ),
)

_PRIVATE_KEY: _Patterns = (
    # Source: RFC 7468 section 10 and 11; RFC 9580 section 6.2 (PRIVATE KEY BLOCK)
    ("PEM private key", re.compile(_PEM)),
    # Source: https://the.earth.li/~sgtatham/putty/latest/htmldoc/AppendixC.html
    (
        "PuTTY private key",
        re.compile(r"PuTTY-User-Key-File-\d:[\s\S]{0,16384}?Private-MAC:[ \t]*[0-9a-fA-F]{16,128}"),
    ),
)

_CONNECTION_STRING: _Patterns = (
    # Source: RFC 3986 section 3.2.1 (user:password in the authority)
    (
        "URL with password",
        re.compile(
            r"(?i)(?<![A-Za-z0-9+.-])(?:jdbc:)?[a-z][a-z0-9+.-]{1,30}://[^\s/\"'<>@:]{0,200}:"
            r"[^\s\"'<>]{1,300}@[^\s\"'<>)\],;]{1,1000}"
        ),
    ),
    # Source: https://docs.oracle.com/en/database/oracle/oracle-database/19/jjdbc/ (thin URLs)
    (
        "JDBC URL, Oracle",
        re.compile(r"(?i)jdbc:oracle:[a-z]{2,6}:[^\s/\"'<>@]{1,100}/[^\s\"'<>@]{1,200}@[^\s\"'<>]{1,500}"),
    ),
    (
        "JDBC URL",
        re.compile(r"(?i)jdbc:[^\s\"'<>]{1,500}?(?:password|pwd)=[^\s\"'<>&;]{1,300}[^\s\"'<>]{0,500}"),
    ),
    # Source: https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string
    (
        "Azure connection string",
        re.compile(
            r"(?i)(?:(?:DefaultEndpointsProtocol|Endpoint|HostName|AccountName)=[^;\s\"']{1,300};"
            r"(?:[a-z]{2,40}=[^;\s\"']{0,300};){0,6}?)?"
            r"(?:AccountKey|SharedAccessKey|SharedAccessSignature)=[A-Za-z0-9+/=%&?_-]{20,600}"
            r"(?:;[a-z]{2,40}=[^;\s\"']{0,300}){0,6};?"
        ),
    ),
    # Source: https://learn.microsoft.com/dotnet/framework/data/adonet/connection-string-syntax
    (
        "ADO connection string",
        re.compile(
            r"(?i)(?:server|data source|host|address|addr)[ ]?=[^;\n\"']{1,300};"
            r"(?:[a-z ]{2,40}=[^;\n\"']{0,300};){0,12}?[ ]?(?:password|pwd)[ ]?=[^;\n\"']{1,300}"
            r"(?:;[a-z ]{2,40}=[^;\n\"']{0,300}){0,12}"
        ),
    ),
)

_NAMES_OF_ONE = (
    r"(?:pass[_-]?word|passwd|pass[_-]?phrase|passcode|(?<![A-Za-z])pwd|(?<![A-Za-z])pass"
    r"|(?:client|shared|app|consumer)?[_-]?secret(?:[_-]?key)?|credentials?)"
)

_PASSWORD: _Patterns = (
    ("named password", re.compile(r"(?i)" + _NAMES_OF_ONE + _ASSIGN + _VALUE)),
    (
        "password in prose",
        re.compile(r"(?i)password[ \t]{1,4}(?:is|was|to)[ \t:]{1,4}(?=\S{0,80}[0-9!@#$%^&*])" + _VALUE),
    ),
    ("password option", re.compile(r"(?i)--?(?:password|passwd|pass|pwd|secret)[ \t]{1,4}(?!-)" + _VALUE)),
    ("password element", re.compile(r"(?i)<(?:password|passwd|pwd|secret)>(?P<value>[^<\n]{1,400})</")),
)

#: Entity type -> the patterns that find it.
PATTERNS: dict[str, _Patterns] = {
    API_KEY: _API_KEY,
    ACCESS_TOKEN: _ACCESS_TOKEN,
    PRIVATE_KEY: _PRIVATE_KEY,
    CONNECTION_STRING: _CONNECTION_STRING,
    PASSWORD: _PASSWORD,
}


def secret_spans(entity_type: str, text: str) -> Iterator[tuple[int, int]]:
    """Yield the ``(start, end)`` of every secret of one type, in characters."""
    for match in _matches(entity_type, text):
        yield match.span(match.lastgroup or 0)


def line_crossing_spans(text: str) -> list[tuple[int, int]]:
    """Return the spans of all secrets that reach over a line break, in order.

    A span begins with what gives the secret away: a password on the line after its name is
    found only when both lines are looked at together.
    """
    spans = {
        match.span()
        for entity_type in SECRET_ENTITIES
        for match in _matches(entity_type, text)
        if "\n" in match[0].rstrip("\n")
    }
    return sorted(spans)


def _matches(entity_type: str, text: str) -> Iterator[re.Match[str]]:
    for _, pattern in PATTERNS[entity_type]:
        for match in pattern.finditer(text):
            start, end = match.span(match.lastgroup or 0)
            if end > start and not _NOT_A_VALUE.fullmatch(text, start, end):
                yield match
