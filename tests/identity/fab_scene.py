"""FAB's own tables, made by FAB's models, and people in them."""

from __future__ import annotations

from datetime import datetime

from airflow.providers.fab.auth_manager.models import Group, Model, Role, User

from tests.conftest import Database

FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"


def make_tables(database: Database) -> None:
    Model.metadata.create_all(database.engine)


def add_user(
    database: Database,
    name: str,
    *roles: str,
    key: int | None = None,
    active: bool = True,
    last_login: datetime | None = None,
    by_group: bool = False,
    email: str | None = None,
) -> str:
    """Add a user with roles, held directly or by way of a FAB group; return the id."""
    with database.session() as session:
        held = [_role(session, role) for role in roles]
        user = User(
            id=key,
            first_name="",
            last_name="",
            username=name,
            email=email or f"{name}@example.com",
            active=active,
        )
        user.last_login = last_login
        if by_group:
            user.groups = [Group(name=f"group of {name}", roles=held)]
        else:
            user.roles = held
        session.add(user)
        session.commit()
        return str(user.id)


def _role(session, name):  # type: ignore[no-untyped-def]
    return session.query(Role).filter_by(name=name).one_or_none() or Role(name=name)
