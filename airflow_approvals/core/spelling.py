"""When two connection ids are the same to somebody."""

from __future__ import annotations

import re

_BETWEEN = re.compile("[-_.]")


def connection_spelling(conn_id: str) -> str:
    """Return what all spellings of an id have in common that some secrets backend takes for one.

    The environment's backend reads ids in upper case, and Azure Key Vault's writes a dash for what
    stands between words; AWS's parameter store takes what follows a colon for a version. So these are
    as protected as the id itself, and open to nobody, since grants name the id itself.
    Source: ``AzureKeyVaultBackend.build_path`` of Airflow's provider for Azure; the reference of AWS
    Systems Manager's GetParameter (``name:version``, ``name:label``).
    """
    return _BETWEEN.sub("-", conn_id.partition(":")[0].upper().casefold())
