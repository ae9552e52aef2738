"""FAB's users and roles, as its auth manager keeps them in Airflow's metadata database.

The tables are FAB's; they are described here by hand, since its provider need not be installed
where nobody uses it.

Source: apache-airflow-providers-fab 3.10.2, ``auth_manager/models/__init__.py``. A user has a
role directly, or by way of a FAB group. ``last_login`` is ``datetime.now()`` of the API server:
local time, without a zone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, column, func, select, table, true, union
from sqlalchemy.orm import Session

_user = table(
    "ab_user", column("id"), column("username"), column("active"), column("last_login"), column("email")
)
_role = table("ab_role", column("id"), column("name"))
_user_role = table("ab_user_role", column("user_id"), column("role_id"))
_user_group = table("ab_user_group", column("user_id"), column("group_id"))
_group_role = table("ab_group_role", column("group_id"), column("role_id"))


#: Digits of an id that an INTEGER column takes for certain.
_LONGEST_ID = 9


@dataclass(frozen=True)
class RoleHolder:
    """An active user who holds a role. ``last_login`` is local time, ``None`` before the first."""

    role: str
    id: str
    name: str
    last_login: datetime | None


def role_holders(session: Session, roles: Collection[str]) -> list[RoleHolder]:
    """Return who holds which of these roles now; active users only."""
    direct = _holders(roles).join_from(_user, _user_role, _user_role.c.user_id == _user.c.id)
    direct = direct.join(_role, _role.c.id == _user_role.c.role_id)
    by_group = _holders(roles).join_from(_user, _user_group, _user_group.c.user_id == _user.c.id)
    by_group = by_group.join(_group_role, _group_role.c.group_id == _user_group.c.group_id)
    by_group = by_group.join(_role, _role.c.id == _group_role.c.role_id)
    rows = session.execute(union(direct, by_group)).all()
    return [RoleHolder(row[0], str(row[1]), row[2], _moment(row[3])) for row in rows]


def users_named(session: Session, names: Collection[str]) -> dict[str, str]:
    """Return name to id of the users who are called by one of these names, active or not."""
    rows = session.execute(select(_user.c.username, _user.c.id).where(_user.c.username.in_(names)))
    return {name: str(key) for name, key in rows}


def ids_that_name_another(session: Session, numbers: Collection[str]) -> frozenset[str]:
    """Return which of these numbers are the id of one user and the name of another, active or not."""
    named = users_named(session, numbers)
    ids = [int(number) for number in named if len(number) <= _LONGEST_ID]
    found = {str(key) for key in session.scalars(select(_user.c.id).where(_user.c.id.in_(ids)))}
    return frozenset(number for number, key in named.items() if number in found and number != key)


def active_users_with_email(session: Session, email: str) -> dict[str, str]:
    """Return name to id of the active users with that address, in whatever case.

    :param email: ASCII, since databases do not agree on the case of anything else.
    """
    chosen = select(_user.c.username, _user.c.id, _user.c.email).where(
        func.lower(_user.c.email) == email.lower(), _user.c.active == true()
    )
    return {
        name: str(key)
        for name, key, found in session.execute(chosen)
        if found.isascii() and found.casefold() == email.casefold()
    }


def _holders(roles: Collection[str]) -> Select[Any]:
    chosen = select(_role.c.name, _user.c.id, _user.c.username, _user.c.last_login)
    return chosen.where(_role.c.name.in_(roles), _user.c.active == true())


def _moment(value: datetime | str | None) -> datetime | None:
    """SQLite gives the text that was stored, since the column is not typed here."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value
