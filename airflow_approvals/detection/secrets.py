"""Where secrets stand in a text, with the exact span to mask.

1. The span covers the whole secret; what surrounds it (``password=``) stays readable.
2. A secret that spans lines (a PEM block) is one span.
3. A secret in percent-encoding or behind JSON's escapes is found where it stands; of a base64 blob whose text
   holds one, all is the span.
4. Patterns are bounded: no input makes them cost more than linear time.
5. Only key blocks and wrapped base64 are looked for in all of a text; everything else line by line, as most
   lines hold no hint of a secret (more than four times the speed on texts of 64 KiB).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from airflow_approvals.detection.named_secrets import API_KEYS, PASSWORDS, TOKENS, is_value
from airflow_approvals.detection.secret_rules import Rule, folded_rule, hinted, rule
from airflow_approvals.detection.secret_views import Blob, View, blobs, unescaped, wrapped_blobs
from airflow_approvals.detection.vendor_keys import VENDOR_RULES

API_KEY = "API_KEY"
ACCESS_TOKEN = "ACCESS_TOKEN"  # noqa: S105  an entity type, not a token
PRIVATE_KEY = "PRIVATE_KEY"
CONNECTION_STRING = "CONNECTION_STRING"
PASSWORD = "PASSWORD"  # noqa: S105  an entity type, not a password

SECRET_ENTITIES = (API_KEY, ACCESS_TOKEN, PRIVATE_KEY, CONNECTION_STRING, PASSWORD)

#: No key block is longer than this many characters; the pattern below repeats the figure.
MAX_BLOCK = 65_536

_PEM = (
    r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?:(?!-----BEGIN)[\s\S]){0,65536}?-----END (?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----"
    r"|(?:\\[rn]|[\sA-Za-z0-9+/=]){0,65536})"
)

_ACCESS_TOKEN: tuple[Rule, ...] = (
    # Source: RFC 7519 section 3 (JWT), RFC 7516 section 3 (five parts when encrypted)
    rule(
        "JSON Web Token",
        r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{2,8000}\.[A-Za-z0-9_-]{0,8000}"
        r"(?:\.[A-Za-z0-9_-]{0,8000}){0,2}",
        "eyJ",
    ),
    # Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html;
    # https://learn.microsoft.com/azure/storage/common/storage-sas-overview (sig=)
    folded_rule(
        "signed URL",
        r"[?&](?:x-amz-signature|x-goog-signature|sig)=(?P<value>[A-Za-z0-9%+/=_-]{16,1000})",
        *("signature=", "sig="),
    ),
    *TOKENS,
)

_KEY_BLOCKS: tuple[Rule, ...] = (
    # Source: RFC 7468 section 10 and 11; RFC 9580 section 6.2 (PRIVATE KEY BLOCK)
    rule("PEM private key", _PEM, "PRIVATE KEY"),
    # Source: https://the.earth.li/~sgtatham/putty/latest/htmldoc/AppendixC.html
    rule(
        "PuTTY private key",
        r"PuTTY-User-Key-File-\d:(?:(?!PuTTY-User)[\s\S]){0,16384}?Private-MAC:[ \t]*[0-9a-fA-F]{16,128}",
        "PuTTY-User-Key-File-",
    ),
)

_PRIVATE_KEY: tuple[Rule, ...] = (
    # Source: https://github.com/C2SP/C2SP/blob/main/age.md (Bech32 of 32 bytes)
    rule("age secret key", r"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}", "AGE-SECRET-KEY-1"),
)

_CONNECTION_STRING: tuple[Rule, ...] = (
    # Source: RFC 3986 section 3.2.1 (user:password in the authority); what is masked already or a
    # port is no password
    folded_rule(
        "URL with password",
        r"(?<![A-Za-z0-9+.-])(?:jdbc:)?[a-z][a-z0-9+.-]{1,30}://[^\s/\"'<>@:]{0,200}:"
        r"(?!(?:\*{1,64}|x{3,64}|\.{3})@|\$\{|\{\{|\d{1,5}[/?#])"
        r"[^\s\"'<>]{1,300}@[^\s\"'<>)\],;]{1,1000}",
        "://",
    ),
    # Source: https://docs.oracle.com/en/database/oracle/oracle-database/19/jjdbc/ (thin URLs)
    folded_rule(
        "JDBC URL, Oracle",
        r"jdbc:oracle:[a-z]{2,6}:[^\s/\"'<>@]{1,100}/[^\s\"'<>@]{1,200}@[^\s\"'<>]{1,500}",
        "jdbc:oracle:",
    ),
    folded_rule(
        "JDBC URL",
        r"jdbc:[^\s\"'<>]{1,500}?(?:password|pwd)=[^\s\"'<>&;]{1,300}[^\s\"'<>]{0,500}",
        "jdbc:",
    ),
    # Source: https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string
    folded_rule(
        "Azure connection string",
        r"(?:(?:DefaultEndpointsProtocol|Endpoint|HostName|AccountName)=[^;\s\"']{1,300};"
        r"(?:[a-z]{2,40}=[^;\s\"']{0,300};){0,6}?)?"
        r"(?:AccountKey|SharedAccessKey|SharedAccessSignature)=[A-Za-z0-9+/=%&?_-]{20,600}"
        r"(?:;[a-z]{2,40}=[^;\s\"']{0,300}){0,6};?",
        *("accountkey", "sharedaccess"),
    ),
    # Source: https://learn.microsoft.com/dotnet/framework/data/adonet/connection-string-syntax
    folded_rule(
        "ADO connection string",
        r"(?:server|data source|host|address|addr)[ ]?=[^;\n\"']{1,300};"
        r"(?:[a-z ]{2,40}=[^;\n\"']{0,300};){0,12}?[ ]?(?:password|pwd)[ ]?=[^;\n\"']{1,300}"
        r"(?:;[a-z ]{2,40}=[^;\n\"']{0,300}){0,12}",
        *("password", "pwd"),
    ),
)

#: Entity type -> the rules that find it in a line, or in a line that awaits a value and the next one.
LINE_RULES: dict[str, tuple[Rule, ...]] = {
    API_KEY: (*VENDOR_RULES, *API_KEYS),
    ACCESS_TOKEN: _ACCESS_TOKEN,
    PRIVATE_KEY: _PRIVATE_KEY,
    CONNECTION_STRING: _CONNECTION_STRING,
    PASSWORD: PASSWORDS,
}
#: Entity type -> the rules of secrets that are many lines long.
BLOCK_RULES: dict[str, tuple[Rule, ...]] = {PRIVATE_KEY: _KEY_BLOCKS}


class Secret(NamedTuple):
    """A secret in a text; offsets are in characters.

    :param entity_type: one of :data:`SECRET_ENTITIES`.
    :param start: of the secret.
    :param end: after its last character.
    :param sign: where what gives it away begins, such as the name before a password.
    """

    entity_type: str
    start: int
    end: int
    sign: int


def find_secrets(text: str) -> list[Secret]:
    """Return every secret in a text, in order, without those inside another one of the same type."""
    found = [*_in_blocks(text)]
    for offset, passage in passages(text):
        found += (_shifted(secret, offset) for secret in _in_lines(passage))
        view = unescaped(passage)
        if view is not None:
            seen = (*_in_blocks(view.text), *_in_lines(view.text))
            found += (_shifted(_original(secret, view), offset) for secret in seen)
    return _outermost(found)


def secret_spans(entity_type: str, text: str) -> Iterator[tuple[int, int]]:
    """Yield the ``(start, end)`` of every secret of one type, in characters."""
    for secret in find_secrets(text):
        if secret.entity_type == entity_type:
            yield secret.start, secret.end


def line_crossing_spans(text: str) -> list[tuple[int, int]]:
    """Return the spans of all secrets that reach over a line break, in order.

    A span begins with what gives the secret away: a password on the line after its name is
    found only when both lines are looked at together.
    """
    spans = {(secret.sign, secret.end) for secret in _in_blocks(text)}
    for offset, passage in passages(text):
        if "\n" in passage:
            spans |= {(offset + secret.sign, offset + secret.end) for secret in _in_lines(passage)}
    return sorted((start, end) for start, end in spans if "\n" in text[start:end].rstrip("\n"))


def passages(text: str) -> Iterator[tuple[int, str]]:
    """Yield the place and text of every line, together with the next one where it awaits a value."""
    start = end = 0
    for line in text.split("\n"):
        end += len(line) + 1
        if not line.rstrip(" \t\r").endswith((":", "=", "=>")):
            yield start, text[start : end - 1]
            start = end
    if start < len(text):
        yield start, text[start:]


def _in_blocks(text: str) -> Iterator[Secret]:
    yield from _written(text, BLOCK_RULES)
    yield from _encoded(wrapped_blobs(text))


def _in_lines(text: str) -> Iterator[Secret]:
    yield from _written(text, LINE_RULES)
    yield from _encoded(blobs(text))


def _encoded(read: Iterable[Blob]) -> Iterator[Secret]:
    """Yield the blobs whose text holds a secret; what they hold in base64 again is not opened."""
    for blob in read:
        inside = {s.entity_type for rules in (LINE_RULES, BLOCK_RULES) for s in _written(blob.text, rules)}
        for entity_type in sorted(inside):
            yield Secret(entity_type, blob.start, blob.end, blob.start)


def _written(text: str, rules: dict[str, tuple[Rule, ...]]) -> Iterator[Secret]:
    for entity_type, of_type in rules.items():
        for one in hinted(of_type, text):
            for match in one.pattern.finditer(text):
                if is_value(match):
                    yield Secret(entity_type, *match.span(match.lastgroup or 0), match.start())


def _original(secret: Secret, view: View) -> Secret:
    start, end = view.original(secret.start, secret.end)
    return Secret(secret.entity_type, start, end, view.original(secret.sign, secret.end)[0])


def _shifted(secret: Secret, by: int) -> Secret:
    return Secret(secret.entity_type, secret.start + by, secret.end + by, secret.sign + by)


def _outermost(found: list[Secret]) -> list[Secret]:
    kept: list[Secret] = []
    reached = dict.fromkeys(SECRET_ENTITIES, -1)
    for secret in sorted(found, key=lambda s: (s.start, -s.end, s.entity_type, s.sign)):
        if secret.end > reached[secret.entity_type]:
            reached[secret.entity_type] = secret.end
            kept.append(secret)
    return kept
