"""Which auth manager runs, and what can be asked of it outside of a person's session."""

from __future__ import annotations

import enum


class AuthManagerKind(enum.StrEnum):
    """The auth managers that are told apart; ``other`` (Keycloak, say) cannot be asked for users."""

    SIMPLE = "SimpleAuthManager"
    FAB = "FAB"
    OTHER = "other"


def running_kind() -> AuthManagerKind:
    """Return the kind of auth manager that Airflow is configured with; it is not started by it."""
    from airflow.api_fastapi.app import get_auth_manager_cls
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    chosen = get_auth_manager_cls()
    if issubclass(chosen, SimpleAuthManager):
        return AuthManagerKind.SIMPLE
    # Known by its name: the provider need not be installed.
    if any(base.__module__.startswith("airflow.providers.fab.") for base in chosen.__mro__):
        return AuthManagerKind.FAB
    return AuthManagerKind.OTHER
