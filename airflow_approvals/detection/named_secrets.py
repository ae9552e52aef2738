"""Secrets that have no form of their own: the name beside a value gives it away.

What stands there instead of a value (``***``, ``${DB_PASSWORD}``, or ``self.password`` in a stack trace)
is none.
"""

from __future__ import annotations

import re

from airflow_approvals.detection.secret_rules import Rule, folded_rule

#: Between a name and its value: ``=``, ``:``, ``=>``, quotes (also escaped ones), one line break.
_ASSIGN = r"\\?[\"']?[ \t]{0,8}(?:=>|:=|[:=])[ \t]{0,8}(?:\r?\n)?[ \t]{0,16}"
#: A value: quoted (also with escaped quotes), or up to the next separator.
_VALUE = (
    r"(?:\\\"(?P<escaped>[^\"\\\n]{1,2000})\\\""
    r"|\"(?P<double>(?:[^\"\\\n]|\\.){1,2000})\""
    r"|'(?P<single>(?:[^'\\\n]|\\.){1,2000})'"
    r"|(?P<bare>[^\s\"'`,;&<>()\[\]{}\\|]{3,2000}))"
)
#: In prose a few words may stand between: "the token for staging is …".
_SAID = r"(?:[ \t]{1,4}[A-Za-z]{1,20}){0,4}?[ \t]{1,4}(?:is|was|to)[ \t:]{1,4}[\"'`]?"
#: Keys are long and have a letter and a digit; a date, or a path in a key store, is none.
_KEY = (
    r"(?P<value>(?!\d{4}-\d\d-\d\d)(?!(?:projects|keys|secret|kv|vault|home|etc|opt|var)/)"
    r"(?=[^\s\d]{0,200}\d)(?=[^\sA-Za-z]{0,200}[A-Za-z])[A-Za-z0-9+=_.~-][A-Za-z0-9+/=_.~-]{15,2000})"
)
_QUOTE = r"(?:\\?[\"'])?"
_COUNTED = r"(?!\d{1,9}[ \t,;|/]{1,4}(?:fail|skip|error|warn))"
_MEASURED = r"(?!\d{1,9}[ \t]{1,4}(?:char|byte|bit|letter|digit|second|minute|hour|day|week|month|time))"

_FOR_APIS = r"(?:api[_-]?key|apikey|access[_-]?key(?:[_-]?id)?|account[_-]?key|x-api-key)"
_FOR_KEYS = (
    r"(?:fernet|encryption|signing|master|private|session|cipher|hmac|app|application|auth|shared[_-]?access"
    r"|webhook|deploy|license)[_-]?key"
)
_FOR_ACCESS = (
    r"(?:(?:access|auth|refresh|session|security|id|csrf|bot|api|private)[_-]?token"
    r"|(?<![A-Za-z])token|session[_-]?id|sessionid)"
)
_FOR_LOGIN = (
    r"(?:pass[_-]?word|passwd|pass[_-]?phrase|passcode|(?<![A-Za-z])pwd|(?<![A-Za-z])pass"
    r"|(?:client|shared|app|consumer)?[_-]?secret(?:[_-]?(?:access[_-]?)?key)?|credentials?)"
)

API_KEYS: tuple[Rule, ...] = (
    folded_rule("named API key", _FOR_APIS + _ASSIGN + _VALUE, "key"),
    folded_rule("named key", r"(?<![A-Za-z])" + _FOR_KEYS + _ASSIGN + _QUOTE + _KEY, "key"),
    folded_rule(
        "key in prose",
        r"(?:api|access|account|fernet|encryption|signing|master|private|app)[ _-]?key" + _SAID + _KEY,
        "key",
    ),
)

TOKENS: tuple[Rule, ...] = (
    # Source: RFC 6750 section 2.1; a digit rules out "bearer authentication"
    folded_rule(
        "bearer token",
        r"\bbearer[ \t]{1,4}(?P<value>(?=[A-Za-z._~+/-]{0,200}\d)[A-Za-z0-9._~+/-]{8,8000}={0,2})(?![\w=])",
        "bearer",
    ),
    # Source: RFC 7617 section 2
    folded_rule(
        "basic credentials",
        r"authorization\\?[\"']?[ \t]{0,4}[:=][ \t]{0,4}\\?[\"']?basic[ \t]{1,4}"
        r"(?P<value>[A-Za-z0-9+/=]{6,2000})",
        "basic",
    ),
    folded_rule("named token", _FOR_ACCESS + _ASSIGN + _VALUE, "token", "session"),
    folded_rule("named signature", r"signature" + _ASSIGN + _QUOTE + _KEY, "signature"),
    folded_rule("token in prose", r"token" + _SAID + _KEY, "token"),
)

PASSWORDS: tuple[Rule, ...] = (
    folded_rule(
        "named password", _FOR_LOGIN + _ASSIGN + _COUNTED + _VALUE, "pass", "pwd", "secret", "credential"
    ),
    folded_rule(
        "password in prose",
        r"(?:password|passphrase|passcode)"
        + _SAID
        + _MEASURED
        + r"(?=\S{0,80}[0-9!@#$%^&*])(?P<value>[^\s\"'`,;<>()]{3,400})",
        "pass",
    ),
    folded_rule("secret in prose", r"secret(?:[ _-](?:access[ _-])?key)?" + _SAID + _KEY, "secret"),
    folded_rule(
        "password option",
        r"--?(?:password|passwd|pass|pwd|secret)[ \t]{1,4}(?!-)" + _VALUE,
        "-pass",
        "-pwd",
        "-secret",
    ),
    folded_rule("password element", r"<(?:password|passwd|pwd|secret)>(?P<value>[^<\n]{1,400})</", "</"),
)

#: What documentation, templates and masking leave in place of a value, and types in signatures.
_NOT_A_VALUE = re.compile(
    r"(?i)(?:none|null|nil|true|false|undefined|required|optional|include|omit|same-origin|any|str|string|bytes|int|bool|object"
    r"|\*+|x+|\.+|-+|<[a-z _-]{1,60}>|\[?(?:redacted|masked|hidden|filtered|removed)\]?"
    r"|\$\{[^{}]{1,200}\}|\$\([^()]{1,200}\)|\{\{[^{}]{1,200}\}\}|\{[a-z_.]{0,60}\}|%\(\w{1,60}\)s"
    r"|\$(?-i:[A-Z]{2,40}|[A-Z][A-Z0-9]{0,40}_[A-Z0-9_]{1,80}))"
)
_CODE = re.compile(
    r"(?:self|cls|os|settings|config|conf|args|kwargs|ctx|context|request|hook|conn|connection|env)\.[a-z_][\w.]*"
)
_NAME = re.compile(r"[A-Za-z_][\w.]*")


def is_value(match: re.Match[str]) -> bool:
    """Whether what was matched is a value, not what stands in its place."""
    text, group = match.string, match.lastgroup or 0
    start, end = match.span(group)
    if end <= start or _NOT_A_VALUE.fullmatch(text, start, end):
        return False
    return group != "bare" or not _is_code(match)


def _is_code(match: re.Match[str]) -> bool:
    """Whether an unquoted value is an expression, as in ``connect(password=password)``."""
    text, (start, end) = match.string, match.span("bare")
    value, after = text[start:end], text[end : end + 1]
    if _CODE.fullmatch(value):
        return True
    if after in {"(", "["}:
        return ("." in value or "_" in value) and bool(_NAME.fullmatch(value))
    name = text[match.start() : start].rstrip(" \t\n=:>\\\"'")
    return after in {")", ","} and (value == name or value.endswith((f"_{name}", f".{name}")))
