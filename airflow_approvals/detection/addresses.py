"""Where street addresses and postcodes stand in a text.

A language model finds ``Springfield`` and leaves ``742 Evergreen Terrace`` standing, which says far
more. An address has a form: a number beside a word that streets are called by, in the order of its
country; a postcode beside a state or a town.

Patterns are bounded: no input makes them cost more than linear time.
"""

from __future__ import annotations

from collections.abc import Iterator

import regex

#: Words of one to four, each with a capital or a digit in front: ``Martin Luther King``, ``42nd``.
_NAME = r"(?:(?:\p{Lu}[\p{L}'\u2019.-]{0,24}|\d{1,3}(?:st|nd|rd|th))[ ]){1,4}?"

#: Source: https://pe.usps.com/text/pub28/28apc_002.htm (suffixes), the commonest of them
_ENGLISH = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Terrace|Ter|Way"
    r"|Square|Sq|Highway|Hwy|Parkway|Pkwy|Circle|Cir|Trail|Trl|Close|Crescent|Cres|Gardens|Grove|Mews"
    r"|Alley|Plaza|Quay|Wharf)\b\.?"
)
_SIDE = r"(?:[NSEW]{1,2}\.?|North|South|East|West)"
#: Source: https://pe.usps.com/text/pub28/28apc_003.htm (secondary units)
_UNIT = (
    r"(?:,?[ ](?:Apt|Apartment|Suite|Ste|Unit|Flat|Floor|Fl|Room|Rm|Bldg)\.?[ ]{0,2}[\w-]{1,6}"
    r"|,?[ ]\#[ ]?\w{1,6})?"
)

#: Source: https://pe.usps.com/text/pub28/28apb.htm (states and possessions)
_STATES = (
    r"(?:A[LKSZR]|C[AOT]|D[CE]|F[LM]|G[AU]|HI|I[ADLN]|K[SY]|LA|M[ADEHINOPST]|N[CDEHJMVY]|O[HKR]|P[ARW]"
    r"|RI|S[CD]|T[NX]|UT|V[AIT]|W[AIVY])"
)
_ZIP = r"\d{5}(?:-\d{4})?(?![\w-])"
_TOWN = r"\p{Lu}[\p{L}'\u2019.-]{1,24}(?:[ ]\p{Lu}[\p{L}'\u2019.-]{1,24}){0,2}"
_STATE_AND_ZIP = rf"(?:,[ ]{_TOWN})?,?[ ]{_STATES}[ ]{{1,2}}{_ZIP}"
_TOWN_BEHIND = rf"(?:,[ ](?:\d{{4,5}}|\d{{4}}[ ]?\p{{Lu}}{{2}})[ ]{_TOWN})?"

#: A capital in front, or a small one behind another small one of the name: ``de la Paix``.
_OF = (
    r"(?:(?:d[eiu]|d[aoe]s?|del(?:la|le|lo|l')?|l[aeo]s?|sur|van|von|der|den|het|ten|ter)[ ]"
    r"|[dl]['\u2019]){0,3}"
)
_ROMANCE_NAME = (
    rf"{_OF}[\p{{Lu}}\d][\p{{L}}\d'\u2019.-]{{0,24}}(?:[ ]{_OF}\p{{Lu}}[\p{{L}}'\u2019.-]{{0,24}}){{0,3}}"
)

_PATTERNS: tuple[regex.Pattern[str], ...] = tuple(
    regex.compile(pattern)
    for pattern in (
        # 742 Evergreen Terrace, Springfield, IL 62704; 123 N. Main St Apt 4B; 221B Baker Street
        rf"(?<![\w.,-])\d{{1,6}}(?:-\d{{1,4}}|[A-Za-z]|[ ]1/2)?[ ](?:{_SIDE}[ ])?{_NAME}{_ENGLISH}"
        rf"(?:[ ]{_SIDE}(?!\w))?{_UNIT}(?:{_STATE_AND_ZIP})?",
        # P.O. Box 1234, Anchorage, AK 99501
        rf"(?<!\w)P\.?[ ]?O\.?[ ]?Box[ ]\d{{1,7}}(?:{_STATE_AND_ZIP})?",
        # Anchorage, AK 99501
        rf"(?<![\p{{L}}.-]){_TOWN},[ ]{_STATES}[ ]{{1,2}}{_ZIP}",
        # 12 rue de la Paix, 75002 Paris; 12 bis, avenue Foch
        r"(?<![\w.,-])\d{1,4}(?:[ ]?(?:bis|ter|quater))?,?[ ](?i:rue|avenue|boulevard|place|chemin"
        r"|all\u00e9e|impasse|quai|cours|route|faubourg|square)[ ]" + _ROMANCE_NAME + _TOWN_BEHIND,
        # Musterstra\u00dfe 12, 10115 Berlin; Lange Str. 7; Hoofdstraat 12, 1011 AB Amsterdam
        r"(?<!\w)(?:\p{Lu}[\p{L}.-]{1,24}[ -]){0,3}\p{Lu}?[\p{L}-]{0,30}?(?i:stra\u00dfe|strasse|str\."
        r"|weg|platz|allee|gasse|damm|ufer|chaussee|straat|laan|gracht|plein)"
        r"[ ]\d{1,4}[ ]?[a-zA-Z]?(?!\w)" + _TOWN_BEHIND,
        # Calle Mayor 12, 28013 Madrid; Via Giuseppe Verdi, 8; Rua Augusta, 100
        r"(?<!\w)(?:Calle|C/|Avenida|Avda\.|Plaza|Paseo|Via|Viale|Piazza|Corso|Rua|Travessa|Pra\u00e7a"
        r"|Largo)[ ]?" + _ROMANCE_NAME + r",?[ ](?:n\u00ba[ ]?)?\d{1,4}[A-Za-z]?(?!\w|[.,]\d)" + _TOWN_BEHIND,
    )
)


def address_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield the ``(start, end)`` of every address in a text, in characters."""
    for pattern in _PATTERNS:
        for match in pattern.finditer(text):
            yield match.span()
