"""Patterns of a policy, for reasons and tickets: regular expressions that always answer soon.

Python's engine tries one way after the other through a pattern, and nested repeats have
exponentially many. How many ways a pattern has for the longest text is bounded here, at load: the
product over its repeats of how often each may go round. What remains answers within a fraction
of a second, whatever somebody types into a ticket field.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NoReturn

MAX_PATTERN = 200
#: The longest text that a pattern is held against; a longer one fits nothing.
MAX_MATCHED_TEXT = 4000
#: Two repeats without a bound are fine, three are not.
MAX_WAYS = (MAX_MATCHED_TEXT + 1) ** 2

_QUANTIFIER = re.compile(r"(?:([*+?])|\{([0-9]*)(,?)([0-9]*)\})[?+]?")
_SET = re.compile(r"\[\^?\]?(?:[^\]\\]|\\.)*\]")
_LETTERS_AFTER_BACKSLASH = frozenset("dDwWsSbB")


def check_pattern(pattern: str) -> None:
    """Check that a pattern is one, and that it cannot take long.

    :param pattern: a regular expression of Python's syntax, without look-around, flags, named
        groups and references back.
    :raises ValueError: saying what is wrong with it.
    """
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"is longer than {MAX_PATTERN} characters")
    try:
        re.compile(pattern)
        ways = _Ways(pattern).count()
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"is no regular expression: {error}") from None
    if ways > MAX_WAYS:
        raise ValueError(
            "can be gone through in too many ways; give repeats a bound, such as {1,10}, and do not nest them"
        )


def fits(pattern: str, text: str) -> bool:
    """Return whether the whole text fits a pattern that was checked; ``.`` stands for line ends too."""
    return len(text) <= MAX_MATCHED_TEXT and _compiled(pattern).fullmatch(text) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.DOTALL)


class _Ways:
    """Counts, as an upper bound, the ways through a pattern that compiles."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def count(self) -> int:
        return self._either()

    def _either(self) -> int:
        ways = self._sequence()
        while self._next() == "|":
            self._at += 1
            ways += self._sequence()
        return _capped(ways)

    def _sequence(self) -> int:
        ways = 1
        while self._next() not in ("", "|", ")"):
            ways = _capped(ways * self._repeated(self._atom()))
        return ways

    def _atom(self) -> int:
        character = self._next()
        if character == "(":
            return self._group()
        if character == "[":
            found = _SET.match(self._pattern, self._at)
            self._at = found.end() if found else len(self._pattern)
            return 1
        if character == "\\":
            self._escape()
        self._at += 1
        return 1

    def _group(self) -> int:
        if self._pattern.startswith("(?", self._at):
            if not self._pattern.startswith("(?:", self._at):
                _refuse("look-around, flags and named groups")
            self._at += 2
        self._at += 1
        ways = self._either()
        self._at += 1
        return ways

    def _escape(self) -> None:
        self._at += 1
        escaped = self._next()
        if escaped.isalnum() and escaped not in _LETTERS_AFTER_BACKSLASH:
            _refuse(f"\\{escaped}")

    def _repeated(self, ways: int) -> int:
        found = _QUANTIFIER.match(self._pattern, self._at)
        if found is None or found[0] == "{}":
            return ways
        self._at = found.end()
        least, most = _bounds(found)
        if ways == 1:
            return most - least + 1
        return _powers(ways, least, most)

    def _next(self) -> str:
        return self._pattern[self._at : self._at + 1]


def _bounds(found: re.Match[str]) -> tuple[int, int]:
    sign, least, comma, most = found.groups()
    if sign:
        return (1 if sign == "+" else 0), (1 if sign == "?" else MAX_MATCHED_TEXT)
    low = int(least or 0)
    high = int(most) if most else MAX_MATCHED_TEXT if comma else low
    return min(low, MAX_MATCHED_TEXT), min(high, MAX_MATCHED_TEXT)


def _powers(ways: int, least: int, most: int) -> int:
    total, power = 0, 1
    for times in range(most + 1):
        total += power if times >= least else 0
        power = _capped(power * ways)
        if total > MAX_WAYS or power > MAX_WAYS:
            return MAX_WAYS + 1 if times < most else _capped(total)
    return total


def _capped(ways: int) -> int:
    return min(ways, MAX_WAYS + 1)


def _refuse(what: str) -> NoReturn:
    raise ValueError(f"must do without {what}")
