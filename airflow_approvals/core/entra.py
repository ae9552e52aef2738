"""People as Entra knows them, and which Airflow users they are.

Source: https://learn.microsoft.com/en-us/entra/identity-platform/id-token-claims-reference (``oid``
and ``tid``: GUIDs, immutable, an ``oid`` unique within its tenant).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def is_entra_id(text: str) -> bool:
    """Whether a text has the form of an id of a person or tenant, in lower case."""
    return _GUID.fullmatch(text) is not None


@dataclass(frozen=True)
class TeamsIdentities:
    """Whose accounts those of one tenant are.

    ``users`` maps object ids to ids or names of Airflow users, one to one. With
    ``oid_is_username`` an account that is not listed is the Airflow user of that very name, as
    FAB's sign-in through Entra names them.
    """

    tenant: str
    users: Mapping[str, str]
    oid_is_username: bool = False

    def name_of(self, oid: str) -> str | None:
        """Return the Airflow user that an account is linked to."""
        return self.users.get(oid, oid if self.oid_is_username else None)

    def accounts_of(self, people: Collection[str]) -> tuple[str, ...]:
        """Return the accounts that are linked to these ids or names of Airflow users, sorted."""
        linked = {oid for oid, name in self.users.items() if name in people}
        if self.oid_is_username:
            linked |= {name for name in people if is_entra_id(name) and name not in self.users}
        return tuple(sorted(linked))
