"""One way to find a secret: a pattern, and what has to be in a text before the pattern is tried."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A pattern that finds one form of secret.

    :param name: of the form.
    :param pattern: bounded, so that no input costs it more than linear time. Its last group, where
        it has one, is the secret; otherwise all of the match is.
    :param hints: every text that the pattern matches holds one of them. To look for a fixed text costs a
        fraction of what a pattern does.
    :param folded: whether hints are looked for without regard to case; they are in lower case then.
    """

    name: str
    pattern: re.Pattern[str]
    hints: tuple[str, ...]
    folded: bool = False


def hinted(rules: Iterable[Rule], text: str) -> Iterator[Rule]:
    """Yield the rules that may match a text.

    The loop is written out because almost all rules end here, in every line of a log.
    """
    folded = text.casefold()
    for one in rules:
        searched = folded if one.folded else text
        for hint in one.hints:
            if hint in searched:
                yield one
                break


def rule(name: str, pattern: str, *hints: str) -> Rule:
    """Return a rule whose pattern heeds case."""
    return Rule(name, re.compile(pattern), hints)


def folded_rule(name: str, pattern: str, *hints: str) -> Rule:
    """Return a rule whose pattern and hints do not heed case."""
    return Rule(name, re.compile(pattern, re.IGNORECASE), hints, folded=True)
