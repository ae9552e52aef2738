"""The accounts behind names: an administrator may rename one, and its id stays."""

from __future__ import annotations

from sqlalchemy.orm import Session

from airflow_approvals.control.requesters import Requesters
from airflow_approvals.identity.auth_managers import AuthManagerKind, running_kind
from airflow_approvals.store import fab_users


def with_account_ids(session: Session, requesters: Requesters) -> Requesters:
    """Return the set with the ids of the accounts that its names belong to now.

    Airflow records who triggered or cleared by name only. Under the FAB auth manager an account can
    be renamed while a request waits; pinned by id, its person stays barred.
    """
    if running_kind() is not AuthManagerKind.FAB:
        return requesters
    ids = fab_users.users_named(session, requesters.names)
    return requesters.union(Requesters(tuple((key, f"account of {name}") for name, key in ids.items())))
