"""Groups by role of the FAB auth manager: its own users, LDAP and OAuth (Okta, say) alike.

An identity provider's groups become roles at login only, so a role may outlive the group by as
long as nobody signs in; ``max_login_age`` bounds that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from airflow_approvals.core.groups import Group
from airflow_approvals.core.policy import Policy
from airflow_approvals.identity.answers import Answers, CannotAskError
from airflow_approvals.identity.auth_managers import AuthManagerKind, running_kind
from airflow_approvals.store import fab_users
from airflow_approvals.store.fab_users import RoleHolder
from airflow_approvals.store.session import run_read

#: Two API servers' clocks may differ by this much; a later "last login" is no evidence of one.
_CLOCK_SKEW = timedelta(minutes=1)


def members(policy: Policy, groups: Mapping[str, Group]) -> Answers:
    """Return who has the roles; :raises CannotAskError: under another auth manager."""
    if running_kind() is not AuthManagerKind.FAB:
        raise CannotAskError("It is a role of the FAB auth manager, but Airflow runs another one.")
    wanted = {group.value for group in groups.values()}
    # FAB notes the login in local time, without a zone.
    now = datetime.now()
    holders, like_ids = run_read(lambda session: _look_up(session, wanted))
    return Answers(
        {name: _names(group, holders, like_ids, now) for name, group in groups.items()},
        aliases=frozenset(frozenset(_unmistakable(one, like_ids)) for one in holders),
        stale={name: _stale(group, holders, now) for name, group in groups.items()},
    )


def mistakable(names: Collection[str]) -> frozenset[str]:
    """Return which of these are the id of one user of FAB and the name of another."""
    like_ids = {name for name in names if name.isascii() and name.isdigit()}
    if not like_ids or running_kind() is not AuthManagerKind.FAB:
        return frozenset()
    return run_read(lambda session: fab_users.ids_that_name_another(session, like_ids))


def _look_up(session: Session, roles: set[str]) -> tuple[list[RoleHolder], dict[str, str]]:
    """Return who holds the roles, and the users whose name is the id of one of them."""
    holders = fab_users.role_holders(session, roles)
    return holders, fab_users.users_named(session, {one.id for one in holders})


def _names(
    group: Group, holders: list[RoleHolder], like_ids: Mapping[str, str], now: datetime
) -> frozenset[str]:
    chosen = [one for one in holders if one.role == group.value and _fresh(one, group.max_login_age, now)]
    return frozenset(name for one in chosen for name in _unmistakable(one, like_ids))


def _stale(group: Group, holders: list[RoleHolder], now: datetime) -> frozenset[str]:
    """Return who has the role and has to sign in again before it counts."""
    late = [one for one in holders if one.role == group.value and not _fresh(one, group.max_login_age, now)]
    return frozenset(name for one in late for name in (one.id, one.name))


def _fresh(holder: RoleHolder, most: timedelta | None, now: datetime) -> bool:
    if most is None:
        return True
    return holder.last_login is not None and -_CLOCK_SKEW <= now - holder.last_login <= most


def _unmistakable(holder: RoleHolder, like_ids: Mapping[str, str]) -> set[str]:
    """What the person is called, without what could be taken for another one.

    A user may be named "7" while another has the id 7. The name is left out then in any case,
    and the id where it is another user's name.
    """
    called = {holder.id, holder.name}
    if holder.name.isdigit():
        called -= {holder.name} - {holder.id}
    if like_ids.get(holder.id, holder.id) != holder.id:
        called -= {holder.id}
    return called
