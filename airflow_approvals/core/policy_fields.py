"""Strict reading of a policy document: every error names the path, such as ``rules[2].when``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

from airflow_approvals.core.durations import parse_duration
from airflow_approvals.core.patterns import check_pattern
from airflow_approvals.errors import PolicyError

#: Ids of policies end up in columns, messages and file names.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_MAX_TEXT = 1000


@dataclass(frozen=True)
class At:
    """A value of the policy document, and the path that leads to it."""

    value: Any
    path: str

    def fail(self, problem: str, hint: str = "") -> NoReturn:
        """Refuse the policy.

        :raises PolicyError: always, naming the path.
        """
        raise PolicyError(f"{self.path or 'The policy'}: {problem}", hint)

    def object(self, *, required: Iterable[str] = (), optional: Iterable[str] = ()) -> dict[str, At]:
        """Return the fields of an object that has the required and at most the optional keys."""
        fields = self.mapping()
        known = [*required, *optional]
        for key in fields:
            if key not in known:
                fields[key].fail("unknown key.", f"The keys here are {', '.join(known)}.")
        for key in required:
            if key not in fields:
                self.child(key).fail("is missing.")
        return fields

    def mapping(self) -> dict[str, At]:
        """Return the fields of an object with any keys, all of them text."""
        if not isinstance(self.value, Mapping):
            self.fail("must be a mapping.")
        for key in self.value:
            if not isinstance(key, str):
                self.fail(f"the key {key!r} must be text; put it in quotes.")
        return {key: At(value, self.child(key).path) for key, value in self.value.items()}

    def child(self, key: str) -> At:
        """Return the path of a key below, without a value."""
        return At(None, f"{self.path}.{key}" if self.path else key)

    def items(self) -> list[At]:
        """Return the items of a list."""
        if not isinstance(self.value, list):
            self.fail("must be a list.")
        return [At(value, f"{self.path}[{index}]") for index, value in enumerate(self.value)]

    def text(self) -> str:
        """Return a text of 1 to 1,000 characters without surrounding space or control characters."""
        if not isinstance(self.value, str):
            self.fail("must be text; put it in quotes when it looks like something else.")
        text: str = self.value
        if not 1 <= len(text) <= _MAX_TEXT or text != text.strip() or not text.isprintable():
            self.fail(f"must be 1 to {_MAX_TEXT} printable characters without space around them.")
        return text

    def name(self) -> str:
        """Return an id: a letter or digit, then up to 199 letters, digits, ``.``, ``_`` and ``-``."""
        text = self.text()
        if not _ID.fullmatch(text):
            self.fail("must be made of letters, digits, '.', '_' and '-', at most 200 of them.")
        return text

    def texts(self) -> list[str]:
        """Return a list of at least one text, none of them twice."""
        texts: dict[str, None] = {}
        for item in self.items():
            if item.text() in texts:
                item.fail(f"{item.value} is listed twice.")
            texts[item.value] = None
        if not texts:
            self.fail("must not be empty.")
        return list(texts)

    def flag(self) -> bool:
        """Return a boolean."""
        if not isinstance(self.value, bool):
            self.fail("must be true or false.")
        return self.value

    def whole(self, least: int, most: int) -> int:
        """Return a whole number in a closed range."""
        if type(self.value) is not int or not least <= self.value <= most:
            self.fail(f"must be a whole number from {least} to {most}.")
        return self.value

    def one_of(self, words: Iterable[str]) -> str:
        """Return a text that is one of the words."""
        known = list(words)
        if not isinstance(self.value, str) or self.value not in known:
            self.fail(f"must be one of {', '.join(known)}.")
        return self.value

    def number(self, least: float, most: float) -> float:
        """Return a number in a closed range, with or without a fraction."""
        if type(self.value) not in (int, float) or not least <= self.value <= most:
            self.fail(f"must be a number from {least} to {most}.")
        return float(self.value)

    def duration(self) -> timedelta:
        """Return a span of time from one second to 366 days."""
        try:
            return parse_duration(self.value)
        except ValueError as error:
            self.fail(f"{error}.")

    def pattern(self) -> str:
        """Return a regular expression that cannot take long."""
        try:
            check_pattern(self.text())
        except ValueError as error:
            self.fail(f"{error}.")
        return self.text()
