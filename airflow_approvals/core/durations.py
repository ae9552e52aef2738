"""Durations as policies write them: ISO 8601, days down to seconds, nothing fuzzy.

Years and months have no fixed length and fractions invite rounding; both are refused.

Source: ISO 8601-1:2019, 5.5.2 (duration), the subset ``PnDTnHnMnS``.
"""

from __future__ import annotations

import re
from datetime import timedelta

LONGEST = timedelta(days=366)

_FORM = re.compile(
    r"P(?:(?P<days>[0-9]{1,9})D)?"
    r"(?:T(?=[0-9])(?:(?P<hours>[0-9]{1,9})H)?(?:(?P<minutes>[0-9]{1,9})M)?(?:(?P<seconds>[0-9]{1,9})S)?)?"
)


def parse_duration(text: object) -> timedelta:
    """Return the span that the text names, from one second to 366 days.

    :param text: for example ``PT24H``, ``P2D`` or ``P1DT12H30M``.
    :raises ValueError: saying what is wrong with it.
    """
    match = _FORM.fullmatch(text) if isinstance(text, str) else None
    if match is None or not any(match.groups()):
        raise ValueError("must be an ISO 8601 duration of days, hours, minutes and seconds, such as PT24H")
    span = timedelta(**{unit: int(number) for unit, number in match.groupdict("0").items()})
    if not timedelta(0) < span <= LONGEST:
        raise ValueError("must be longer than nothing and at most P366D")
    return span
