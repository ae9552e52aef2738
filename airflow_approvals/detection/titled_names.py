"""Names of people that a word in front of them gives away.

A language model knows the names it was trained on: of ``Frau Wójcik``, ``Mr Nguyễn Văn An`` and
``My name is Siobhán Ní Dhomhnaill`` it misses the whole or a part. A title, a greeting or an
introduction says that a name follows, wherever the name is from.

Patterns are bounded: no input makes them cost more than linear time.
"""

from __future__ import annotations

from collections.abc import Iterator

import regex

#: Titles and forms of address of the languages that this text comes in most. What is a letter or
#: another word as well counts with its dot only.
_TITLE = (
    r"(?:(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Sir|Madam|Herr|Frau|Monsieur|Madame|Mademoiselle|Mme|Mlle"
    r"|Se\u00f1or|Se\u00f1ora|Se\u00f1orita|Sra|Srta|Do\u00f1a|Signor|Signora|Dott|Senhor|Senhora|Dona"
    r"|Meneer|Mevrouw|Dhr|Mevr|Pani)\.?|(?:Hr|Fr|M|Sr|Sig)\.)"
)
_INTRODUCTION = (
    r"(?i:my[ ]name[ ]is|name['\u2019]s|i[ ]am[ ]called|ich[ ]hei\u00dfe|mein[ ]name[ ]ist"
    r"|je[ ]m['\u2019]appelle|me[ ]llamo|mi[ ]nombre[ ]es|mi[ ]chiamo|meu[ ]nome[ ]\u00e9"
    r"|on[ ]behalf[ ]of|signed[ ]by|attn[:.]?"
    r"|kind[ ]regards,|best[ ]regards,|yours[ ]sincerely,)"
)
_GREETING = r"(?:Dear|Hi|Hello|Hola|Bonjour|Hallo|Caro|Cara|Liebe|Lieber|Querido|Querida|Cher|Ch\u00e8re)"
#: Small words inside a name, which begin none.
_PARTICLE = (
    r"(?:(?:van|von|der|den|de|del|della|di|da|dos|du|la|le|bin|binti|ibn|al|el|y|zu|ten|ter)[ ]){0,3}"
)
#: A word with a capital, or an initial: ``Ní``, ``O'Brien``, ``Jean-Luc``, ``T.``
_WORD = r"\p{Lu}(?:[\p{L}\p{M}'\u2019-]{1,30}|\.)"
_NAME = rf"(?P<name>{_PARTICLE}{_WORD}(?:[ ]{_PARTICLE}{_WORD}){{0,3}})"
#: What is greeted in bulk, and the titles themselves.
_NOBODY = frozenset(
    {"all", "team", "everyone", "customer", "customers", "sir", "madam", "sirs", "there", "world", "sender",
     "colleague", "colleagues", "user", "users", "support", "hiring"}
)  # fmt: skip

_PATTERNS: tuple[regex.Pattern[str], ...] = (
    regex.compile(rf"(?<![\w.'-]){_TITLE}[ ]{{1,2}}(?:(?:Dr|Prof)\.?[ ])?{_NAME}"),
    regex.compile(rf"(?<!\w){_INTRODUCTION}\s{{1,2}}(?:{_TITLE}[ ])?{_NAME}"),
    regex.compile(rf"(?<!\w){_GREETING}[ ](?:{_TITLE}[ ])?{_NAME}(?=[ ]?[,!.\n]|$)"),
)


def titled_name_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield the ``(start, end)`` of every name that the words in front of it give away, in characters."""
    for pattern in _PATTERNS:
        for match in pattern.finditer(text):
            if match["name"].split(" ")[0].lower() not in _NOBODY:
                yield match.span("name")
