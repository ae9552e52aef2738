"""Generalising: a value becomes coarser, and what cannot be made coarser with certainty is not kept.

Every function takes the whole of what was found and returns ``None`` where its form is not understood.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

MONTH = "month"
YEAR = "year"
LEVELS = (MONTH, YEAR)

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH_NAME = (
    r"(?P<name>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_FIGURES = r"(?:0?[1-9]|[12]\d|3[01])"
_DAY = rf"{_FIGURES}(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>(?:1[89]|20)\d{2})"
_CLOCK = r"(?:[T ,]{1,2}\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d{1,9})?\s?(?:Z|[+-]\d{2}:?\d{2}|[AaPp][Mm])?)?"
_DATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # Source: RFC 3339, section 5.6; ISO 8601's basic form
        rf"{_YEAR}(?P<sep>[-/.]?)(?P<month>0[1-9]|1[0-2])(?P=sep)(?:0[1-9]|[12]\d|3[01]){_CLOCK}",
        rf"{_YEAR}-(?P<month>0[1-9]|1[0-2])",
        rf"{_YEAR}",
        rf"(?:{_DAY}\s)?{_MONTH_NAME},?\s{_YEAR}{_CLOCK}",
        rf"{_MONTH_NAME}\s{_DAY},?\s{_YEAR}{_CLOCK}",
        rf"(?P<first>{_FIGURES})(?P<sep>[-/.])(?P<second>{_FIGURES})(?P=sep){_YEAR}{_CLOCK}",
    )
)

#: Three-digit ZIP areas with 20,000 people or fewer, which Safe Harbor wants as ``000``.
#: Source: 45 CFR 164.514(b)(2)(i)(B); the areas are those of the guidance of the Department of Health and
#: Human Services on de-identification of 2012-11-26 (census of 2000).
SPARSE_ZIP_AREAS = frozenset(
    [
        "036",
        "059",
        "063",
        "102",
        "203",
        "556",
        "692",
        "790",
        "821",
        "823",
        "830",
        "831",
        "878",
        "879",
        "884",
        "890",
        "893",
    ]
)
_ZIP = re.compile(r"(\d{3})\d{2}(?:-\d{4})?")
# The form of a postcode (outward code, inward code): Royal Mail, Postcode Address File.
_UK_POSTCODE = re.compile(r"(?i)([A-Z]{1,2})\d[A-Z\d]?\s?\d[A-Z]{2}")


def generalised(value: str, entity_type: str, to: str) -> str | None:
    """Return the value made coarser, ``None`` when it cannot be.

    :param to: ``month`` or ``year``: how coarse a date becomes.
    """
    make = _BY_TYPE.get(entity_type)
    return None if make is None else make(value.strip(), to)


def _date(value: str, to: str) -> str | None:
    for pattern in _DATES:
        if match := pattern.fullmatch(value):
            month = _month(match.groupdict())
            return f"{match['year']}-{month:02}" if to == MONTH and month else match["year"]
    return None


def _month(parts: dict[str, str | None]) -> int | None:
    """Return the month, ``None`` where a date in figures does not say which figure it is."""
    if name := parts.get("name"):
        return _MONTHS.index(name[:3].lower()) + 1
    if month := parts.get("month"):
        return int(month)
    first, second = parts.get("first"), parts.get("second")
    if first is None or second is None:
        return None
    day_first, month_first = 1 <= int(second) <= 12, 1 <= int(first) <= 12
    if parts.get("sep") == "." or not month_first:
        return int(second) if day_first else None
    return None if day_first else int(first)


def _network(value: str, _: str) -> str | None:
    """An address becomes its network: 24 bits of IPv4, 48 of IPv6 (a site's; RFC 6177)."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return None
    prefix = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network((address, prefix), strict=False))


def _area(value: str, _: str) -> str | None:
    """A ZIP code becomes its three-digit area, a British postcode the letters of its area."""
    if match := _ZIP.fullmatch(value):
        return "000" if match[1] in SPARSE_ZIP_AREAS else match[1]
    if match := _UK_POSTCODE.fullmatch(value):
        return match[1].upper()
    return None


_BY_TYPE: dict[str, Callable[[str, str], str | None]] = {
    "DATE_TIME": _date,
    "DATE_OF_BIRTH": _date,
    "IP_ADDRESS": _network,
    "LOCATION": _area,
    "UK_POSTCODE": _area,
}
