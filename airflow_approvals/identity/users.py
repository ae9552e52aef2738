"""People, as Airflow's auth manager knows them at this moment."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser

from airflow_approvals.core.models import Person, Refusal
from airflow_approvals.identity.auth_managers import AuthManagerKind, running_kind

PAGE_ONLY = Refusal(
    "page_only",
    "Airflow's auth manager knows people by their session only, so your click in chat does not "
    "count. Sign in to Airflow and decide on the approvals page.",
    403,
)


def person_of(user: BaseUser) -> Person:
    """Return the person behind a signed-in Airflow user."""
    return Person(id=str(user.get_id()), name=str(user.get_name()))


def find_user(name: str) -> BaseUser | None:
    """Return the Airflow user of that name, or ``None`` when there is none that is active.

    A user is looked up where the auth manager keeps them, never made from the name: some auth
    managers would build any user with any role from a dictionary.
    """
    from airflow.api_fastapi.app import create_auth_manager

    manager: Any = create_auth_manager()
    if hasattr(manager, "get_users"):
        return next((user for user in manager.get_users() if str(user.get_name()) == name), None)
    if hasattr(manager, "security_manager"):
        user = manager.security_manager.find_user(username=name)
        return user if user is not None and user.is_active else None
    return None


def find_person(name: str) -> Person | Refusal | None:
    """Return the person of that Airflow user name, for a vote that comes without a session.

    ``None`` when there is nobody active of that name; :data:`PAGE_ONLY` when the auth manager
    (Keycloak, say) keeps no users that could be looked up.
    """
    if running_kind() is AuthManagerKind.OTHER:
        return PAGE_ONLY
    user = find_user(name)
    return person_of(user) if user is not None else None


def may_answer(user: BaseUser, dag_id: str) -> bool:
    """Whether Airflow itself lets the user answer gates of this DAG."""
    return _may(user, dag_id, "PUT")


def may_see(user: BaseUser, dag_id: str) -> bool:
    """Whether Airflow itself lets the user see gates of this DAG."""
    return _may(user, dag_id, "GET")


def may_read_audit(user: BaseUser, dag_id: str) -> bool:
    """Whether Airflow itself lets the user read the audit log of this DAG."""
    return _may(user, dag_id, "GET", "AUDIT_LOG")


def may_trigger(user: BaseUser, dag_id: str) -> bool:
    """Whether Airflow itself lets the user start runs of this DAG."""
    return _may(user, dag_id, "POST", "RUN")


def may_change_tasks(user: BaseUser, dag_id: str, method: str) -> bool:
    """Whether Airflow itself lets the user change (``PUT``) or delete (``DELETE``) tasks of this DAG."""
    return _may(user, dag_id, method, "TASK_INSTANCE")


def _may(user: BaseUser, dag_id: str, method: Any, entity: str = "HITL_DETAIL") -> bool:
    from airflow.api_fastapi.app import create_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
    from airflow.models.dag import DagModel

    return create_auth_manager().is_authorized_dag(
        method=method,
        access_entity=DagAccessEntity[entity],
        details=DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id)),
        user=user,
    )
