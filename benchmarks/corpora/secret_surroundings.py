"""Where secrets stand in practice: seven surroundings, each with the place of the secret in it."""

from __future__ import annotations

import base64
import json
import random
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from benchmarks.corpora.secret_kinds import KINDS, Kind
from benchmarks.corpora.secret_tokens import Token

TOKENS = 20
SEED = "secrets"


@dataclass(frozen=True)
class Case:
    """A text, and where in it every character of the secret stands (in characters)."""

    kind: str
    surrounding: str
    text: str
    start: int
    end: int


def cases(tokens: int = TOKENS) -> Iterator[Case]:
    """Yield every kind in every surrounding, the same in every run.

    :param tokens: of each kind.
    """
    for kind in KINDS:
        draw = random.Random(f"{SEED}-{kind.name}")  # noqa: S311 - they open nothing
        for number in range(tokens):
            token = kind.make(draw)
            for name, place in SURROUNDINGS.items():
                before, secret, after = place(kind, token, number)
                yield Case(kind.name, name, before + secret + after, len(before), len(before) + len(secret))


_Placed = tuple[str, str, str]


def _placed(encode: Callable[[str], str], token: Token, before: str, after: str) -> _Placed:
    return before + encode(token.before), encode(token.secret), encode(token.after) + after


def _same(text: str) -> str:
    return text


def _sign(token: Token) -> str:
    """Return what stands between a name and its value: headers have a colon."""
    return ": " if token.before.endswith(" ") else "="


def _bare(kind: Kind, token: Token, _number: int) -> _Placed:
    return _placed(_same, token, kind.label and kind.label + _sign(token), "")


def _json(kind: Kind, token: Token, number: int) -> _Placed:
    def escaped(text: str) -> str:
        return json.dumps(json.dumps(text)[1:-1])[1:-1]

    name = kind.label or "value"
    before = f'{{"level": "info", "seq": {number}, "body": "{{\\"user\\": \\"svc\\", \\"{name}\\": \\"'
    return _placed(escaped, token, before, '\\", \\"retries\\": 3}"}')


def _url(kind: Kind, token: Token, number: int) -> _Placed:
    before = f"GET https://api.example.com/v1/items?page={number}&{kind.label or 'v'}="
    return _placed(lambda text: quote(text, safe=""), token, before, "&limit=10 HTTP/1.1")


def _trace(kind: Kind, token: Token, number: int) -> _Placed:
    name = kind.label and kind.label + _sign(token)
    before = (
        f"2026-03-04T05:06:{number + 10}.123Z ERROR [worker-{number}] sync failed\n"
        "Traceback (most recent call last):\n"
        f'  File "/opt/app/sync.py", line {number + 40}, in fetch\n'
        "    reply = session.get(url, timeout=30)\n"
        f"app.errors.Refused: upstream refused {name}"
    )
    return _placed(_same, token, before, " (status 401)\n    at attempt 3")


def _assignment(kind: Kind, token: Token, number: int) -> _Placed:
    name = kind.label or "service_value"
    if "\n" in token.secret:
        return _placed(lambda text: text.replace("\n", "\n    "), token, f"{name}: |\n    ", "\nretries: 3\n")
    if number % 2:
        return _placed(_same, token, f'retries: 3\n{name}: "', '"\ntimeout: 30\n')
    quoted = shlex.quote(token.before + token.secret + token.after)
    marks = "'" if quoted.startswith("'") else ""
    return _placed(
        _same, token, f"export RETRIES=3\nexport {name.upper()}={marks}", f"{marks}\nexport TIMEOUT=30\n"
    )


def _prose(kind: Kind, token: Token, _number: int) -> _Placed:
    said = f"the {kind.label} for staging is" if kind.label else "for staging you can use"
    if token.before.endswith(" "):
        said = f"send the header {kind.label}:"
    return _placed(_same, token, f"Hi team, {said} ", " until Friday, then it will be replaced.")


def _blob(kind: Kind, token: Token, number: int) -> _Placed:
    value = token.before + token.secret + token.after
    document = json.dumps({"user": "svc", kind.label or "value": value, "retries": number})
    blob = base64.b64encode(document.encode()).decode()
    return "2026-03-04 05:06:07 DEBUG consumer: message payload=", blob, f" offset={number}"


SURROUNDINGS: dict[str, Callable[[Kind, Token, int], _Placed]] = {
    "bare line": _bare,
    "JSON in JSON": _json,
    "URL query": _url,
    "stack trace": _trace,
    "env or YAML": _assignment,
    "prose": _prose,
    "base64 blob": _blob,
}
