"""Labels, and how the findings of a scan become one.

1. Labels are ordered: public < internal < confidential < restricted.
2. The label of a whole is the highest label among its parts.
3. What was not scanned is restricted; nothing is ever assumed to be public.

Source: the four levels follow the common practice of FIPS 199 impact levels applied to
information types (NIST SP 800-60).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Label(enum.IntEnum):
    """How sensitive data is; compares by sensitivity."""

    PUBLIC = 0
    INTERNAL = 1
    CONFIDENTIAL = 2
    RESTRICTED = 3

    @property
    def word(self) -> str:
        """The label as written in policies, manifests and messages."""
        return self.name.lower()

    @classmethod
    def parse(cls, word: object) -> Label:
        """Return the label of that name.

        :raises ValueError: when there is none.
        """
        for label in cls:
            if label.word == word:
                return label
        known = ", ".join(label.word for label in cls)
        raise ValueError(f"unknown label; the labels are {known}")


#: Entity types that identify a person or an account beyond doubt, or open a door.
RESTRICTED_ENTITIES = frozenset(
    {
        "API_KEY",
        "ACCESS_TOKEN",
        "CONNECTION_STRING",
        "CREDIT_CARD",
        "IBAN_CODE",
        "MEDICAL_LICENSE",
        "PASSWORD",
        "PRIVATE_KEY",
        "UK_NHS",
        "US_BANK_NUMBER",
        "US_DRIVER_LICENSE",
        "US_ITIN",
        "US_PASSPORT",
        "US_SSN",
    }
)

#: Entity types that say little on their own and occur in most operational text.
INTERNAL_ENTITIES = frozenset({"DATE_TIME", "URL", "NRP"})


def entity_label(entity_type: str) -> Label:
    """Return the label a single finding of this entity type carries.

    An entity type this package does not know is confidential: it was worth a recognizer.
    """
    if entity_type in RESTRICTED_ENTITIES:
        return Label.RESTRICTED
    if entity_type in INTERNAL_ENTITIES:
        return Label.INTERNAL
    return Label.CONFIDENTIAL


def column_label(entity_types: Iterable[str], *, scanned: int, total: int) -> Label:
    """Return a column's label: the highest finding's, restricted when not all was scanned.

    :param scanned: number of cells that were scanned, 0 to ``total``.
    :param total: number of cells in the column.
    """
    if scanned < total:
        return Label.RESTRICTED
    return max((entity_label(kind) for kind in entity_types), default=Label.INTERNAL)


def highest(labels: Iterable[Label]) -> Label:
    """Return the highest of the labels; restricted when there are none to go by."""
    return max(labels, default=Label.RESTRICTED)
