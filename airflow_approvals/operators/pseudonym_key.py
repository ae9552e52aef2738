"""Where the key of pseudonyms comes from: a Connection, so that Airflow says which task may read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_approvals.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_approvals.detection.pseudonyms import PseudonymKey


def pseudonym_key(conn_id: str | None) -> PseudonymKey | None:
    """Return the key that a Connection holds, ``None`` without a Connection.

    :raises ConfigurationError: when there is no such Connection, or it holds no key; nothing of what it
        holds is repeated.
    """
    if conn_id is None:
        return None
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    from airflow_approvals.detection.pseudonyms import PseudonymKey

    try:
        found = Connection.get(conn_id)
    except AirflowNotFoundException:
        found = None
    if found is None or not found.password:
        raise ConfigurationError(
            f"The Connection {conn_id!r} holds no key for pseudonyms.",
            "Put the key, in base 64, into its password; see docs/masking.md.",
        )
    return PseudonymKey.from_text(found.password, found.login or "k1")
