"""How the FAB auth manager signs people in; for the doctor, never for a decision.

Written against apache-airflow-providers-fab 3.10; its configuration is a Python file, which is read
here as FAB reads it.
"""

from __future__ import annotations

import enum
import runpy
from dataclasses import dataclass
from pathlib import Path


class AuthType(enum.IntEnum):
    """Where FAB looks for a user's password or login.

    Source: ``flask_appbuilder/const.py``.
    """

    DATABASE = 1
    LDAP = 2
    REMOTE_USER = 3
    OAUTH = 4


@dataclass(frozen=True)
class SignIn:
    """``auth_type`` is ``None`` for one that is not told apart here."""

    auth_type: AuthType | None
    roles_at_login: bool

    @property
    def takes_roles_from_provider(self) -> bool:
        """Whether every login replaces a user's roles by what the identity provider says."""
        return self.roles_at_login and self.auth_type in (AuthType.LDAP, AuthType.OAUTH)


def fab_sign_in() -> SignIn:
    """Return how FAB is configured; without a file, it keeps passwords in the database."""
    from airflow.configuration import AIRFLOW_HOME, conf

    path = Path(AIRFLOW_HOME) / conf.get("fab", "config_file", fallback="webserver_config.py")
    # Executed, as FAB does when the server starts: it is the operator's own.
    config = runpy.run_path(str(path)) if path.is_file() else {}
    number = config.get("AUTH_TYPE", AuthType.DATABASE)
    known = AuthType(number) if number in list(AuthType) else None
    return SignIn(known, bool(config.get("AUTH_ROLES_SYNC_AT_LOGIN", False)))
