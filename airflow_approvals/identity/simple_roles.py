"""Groups by role of SimpleAuthManager, which keeps its users in Airflow's configuration."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_approvals.core.groups import Group
from airflow_approvals.core.policy import Policy
from airflow_approvals.identity.answers import Answers, CannotAskError
from airflow_approvals.identity.auth_managers import AuthManagerKind, running_kind


def members(policy: Policy, groups: Mapping[str, Group]) -> Answers:
    """Return who has the roles; :raises CannotAskError: under another auth manager."""
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    if running_kind() is not AuthManagerKind.SIMPLE:
        raise CannotAskError("It is a role of SimpleAuthManager, but Airflow runs another auth manager.")
    roles: dict[str, str | None] = {}
    for user in SimpleAuthManager.get_users():
        # Of a name that is listed twice the first one counts, as everywhere in this package.
        roles.setdefault(user.username, user.role)
    return Answers(
        {name: frozenset(u for u, role in roles.items() if role == g.value) for name, g in groups.items()}
    )
