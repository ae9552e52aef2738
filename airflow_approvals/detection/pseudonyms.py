"""Keyed pseudonyms: the same value gets the same name wherever the same key is used, so joins survive.

1. A pseudonym is ``<ENTITY_TYPE:version.code>``; the code is 128 bits of HMAC-SHA-256 in base 32. Source:
   RFC 2104 (HMAC; section 5: no less than half of it is kept), RFC 4648 section 6 (base 32).
2. What differs in writing only is one value: case, blanks, and the marks inside a card's or a phone's number.
3. Whoever holds the key can try values until one fits: names, birthdays and phone numbers are few. A
   pseudonym protects from those who do not have the key, and from nobody who has.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import unicodedata
from dataclasses import dataclass, field
from hashlib import sha256

from airflow_approvals.errors import ConfigurationError

#: Source: RFC 2104, section 3: a key shorter than the hash's output weakens it.
MIN_KEY_BYTES = 32
MAX_KEY_BYTES = 1024
_CODE_BYTES = 16
_VERSION = re.compile(r"[a-z][a-z0-9]{0,7}")
_HOW = 'Make one: `python -c "import base64, os; print(base64.b64encode(os.urandom(32)).decode())"`.'
_MARKS = re.compile(r"[\s.:/()+-]+")
#: Numbers that are written with marks or without; in a date or an IP address the marks are the value's.
_MARKS_DO_NOT_MATTER = frozenset(
    {
        "CA_SIN",
        "CREDIT_CARD",
        "IBAN_CODE",
        "IN_AADHAAR",
        "MAC_ADDRESS",
        "PHONE_NUMBER",
        "UK_NHS",
        "UK_NINO",
        "US_BANK_NUMBER",
        "US_ITIN",
        "US_SSN",
    }
)


@dataclass(frozen=True)
class PseudonymKey:
    """A key and its version: up to eight small letters and figures, which every pseudonym shows.

    :raises ConfigurationError: when either has not the form it has to have; the key is not repeated.
    """

    version: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not _VERSION.fullmatch(self.version):
            raise ConfigurationError(
                "The version of a pseudonym key is a small letter and up to seven small letters and figures, "
                "such as k1."
            )
        if not MIN_KEY_BYTES <= len(self.secret) <= MAX_KEY_BYTES:
            raise ConfigurationError(
                f"A pseudonym key has {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes; this one has another length.",
                _HOW,
            )

    def __reduce__(self) -> str:
        raise TypeError("A pseudonym key is not written down.")

    @classmethod
    def from_text(cls, text: str, version: str = "k1") -> PseudonymKey:
        """Read a key in base 64.

        :raises ConfigurationError: when it is none.
        """
        try:
            secret = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError):
            secret = None
        if secret is None:
            raise ConfigurationError("A pseudonym key is written in base 64; this one is not.", _HOW)
        return cls(version, secret)

    def pseudonym(self, value: str, entity_type: str) -> str:
        """Return the name of a value, such as ``<PERSON:k1.…>``."""
        message = f"{entity_type}\0{normalised(value, entity_type)}".encode("utf-8", "surrogatepass")
        code = hmac.digest(self.secret, message, sha256)[:_CODE_BYTES]
        return f"<{entity_type}:{self.version}.{base64.b32encode(code).decode().rstrip('=').lower()}>"


def normalised(value: str, entity_type: str) -> str:
    """Return what two writings of one value have in common."""
    text = " ".join(unicodedata.normalize("NFKC", value).casefold().split())
    return _MARKS.sub("", text) if entity_type in _MARKS_DO_NOT_MATTER else text
