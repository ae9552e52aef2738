"""Other readings of a text: without its escapes, and what its base64 blobs say.

A secret in a URL's query is percent-encoded, a slash in JSON may be ``\\/``, and whole documents travel in
base64. Each reading is made once (nothing is decoded twice), costs linear time, and leads back to the
characters of the text it was made from.
"""

from __future__ import annotations

import binascii
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

#: A shorter blob decodes to less than 18 characters, too few for most secrets with a name.
MIN_BLOB = 24
#: Shorter stretches of text in a decoded blob are taken for chance.
_MIN_TEXT = 16

#: Source: RFC 3986 section 2.1 (percent-encoding), RFC 8259 section 7 (escapes in JSON); ASCII only
_ESCAPE = re.compile(r"%(?P<percent>[0-7][0-9A-Fa-f])|\\u00(?P<unicode>[0-7][0-9A-Fa-f])|\\(?P<slash>/)")
#: Source: RFC 4648 sections 4 and 5 (both alphabets); lines of RFC 2045 (76) and RFC 7468 (64 characters)
_BLOB = re.compile(rf"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{{{MIN_BLOB},}}={{0,2}}")
_WRAPPED = re.compile(
    r"(?<![A-Za-z0-9+/_-])(?:(?:[A-Za-z0-9+/]{76}|[A-Za-z0-9+/]{64})\r?\n[ \t]{0,16}){1,2000}"
    r"[A-Za-z0-9+/]{0,76}={0,2}"
)
_STANDARD = str.maketrans("-_", "+/", " \t\r\n=")
#: What is left of binary data: no control characters, and nothing that is no UTF-8.
_TEXT = re.compile(rf"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd]{{{_MIN_TEXT},}}")


@dataclass(frozen=True)
class View:
    """A reading of a text, and the way back.

    :param text: as read.
    :param _places: where in it escapes stood, in order.
    :param _shifts: how many characters the original is ahead after each of them.
    """

    text: str
    _places: tuple[int, ...] = ()
    _shifts: tuple[int, ...] = ()

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Return the span in the original text that a span of this reading stands for."""
        return self._before(start), self._before(end)

    def _before(self, place: int) -> int:
        index = bisect_right(self._places, place - 1)
        return place + (self._shifts[index - 1] if index else 0)


def unescaped(text: str) -> View | None:
    """Return the text with its escapes resolved; nothing when it has none."""
    parts: list[str] = []
    places: list[int] = []
    shifts: list[int] = []
    position = length = 0
    for match in _ESCAPE.finditer(text):
        parts += [text[position : match.start()], _resolved(match)]
        length += match.start() - position + 1
        position = match.end()
        places.append(length - 1)
        shifts.append(position - length)
    return View("".join([*parts, text[position:]]), tuple(places), tuple(shifts)) if parts else None


def _resolved(match: re.Match[str]) -> str:
    code = match["percent"] or match["unicode"]
    return chr(int(code, 16)) if code else "/"


class Blob(NamedTuple):
    """Base64 that decodes to text: where it stands, in characters, and that text."""

    start: int
    end: int
    text: str


def blobs(line: str) -> Iterator[Blob]:
    """Yield every blob in a line that decodes to text.

    A blob is read from each of four places, so that it does not matter what stands before it
    without a break (``/path/`` is in its alphabet) or where a long text was cut.
    """
    return _decoded(_BLOB, line)


def wrapped_blobs(text: str) -> Iterator[Blob]:
    """Yield every blob in lines of 64 or 76 characters, two at least, that decodes to text."""
    return _decoded(_WRAPPED, text) if "\n" in text else iter(())


def _decoded(pattern: re.Pattern[str], text: str) -> Iterator[Blob]:
    for match in pattern.finditer(text):
        digits = match[0].translate(_STANDARD)
        read = "\n".join(part for skip in range(4) for part in _readable(digits[skip:]))
        if read:
            yield Blob(*match.span(), read)


def _readable(digits: str) -> list[str]:
    whole = len(digits) - (len(digits) % 4 == 1)
    data = binascii.a2b_base64(digits[:whole] + "=" * (-whole % 4))
    return _TEXT.findall(data.decode("utf-8", errors="replace"))
