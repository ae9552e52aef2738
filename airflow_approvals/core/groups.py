"""Groups: where the members of a seat's group come from."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import timedelta


class GroupSource(enum.StrEnum):
    """Who says who is in a group."""

    USERS = "users"
    SIMPLE_ROLE = "simple_role"
    FAB_ROLE = "fab_role"
    SLACK_USERGROUP = "slack_usergroup"


@dataclass(frozen=True)
class Group:
    """One group of the policy.

    ``users`` are its members where the policy lists them; otherwise ``value`` names the role or
    Slack user group that is asked at the moment of every decision. ``max_login_age`` bounds how
    stale a role may be that an identity provider refreshes only at login. ``from_provider`` is the
    policy's word that every login replaces the role by what the identity provider says.
    """

    source: GroupSource
    users: frozenset[str] = frozenset()
    value: str = ""
    max_login_age: timedelta | None = None
    from_provider: bool = False

    @classmethod
    def of(cls, *users: str) -> Group:
        """Return a group of listed users."""
        return cls(GroupSource.USERS, frozenset(users))

    @property
    def is_static(self) -> bool:
        """Whether the policy itself lists the members."""
        return self.source is GroupSource.USERS

    @property
    def editable_in_airflow(self) -> bool:
        """Whether an Airflow administrator can put people into it, for longer than to their next login."""
        return self.source is GroupSource.FAB_ROLE and not self.from_provider
